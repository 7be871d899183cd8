"""`wordmill promote`, `rollback` and `history`: what a person does with versions."""

import getpass
import platform
import subprocess
from collections.abc import Callable

from flows.champion_file import LOG_FILE
from flows.history import as_json, champion_before, table
from flows.promotion import Check, check_agreement, check_verdict, promote, reconcile, settle, tell
from flows.promotion_log import DisagreementError, Done, Entry, PromotionLog
from flows.registry import CHAMPION, Registry, opened, registry_alone
from flows.servers import has_store
from flows.tracking import answering
from flows.workspace import BusyError
from wordmill.errors import ParamsError
from wordmill.gate.verdict import Verdict

Judge = Callable[[str, str | None], Verdict]
"""The gate: a challenger and the champion it is measured against, None where there is none."""


@answering()
def promote_version(
    name: str, version: str, *, reason: str = "", judge: Judge | None = None
) -> str:
    """Make a version champion and say what was before.

    Args:
        name: of the registered model.
        version: the one that is promoted.
        reason: why; needed to go against the gate.
        judge: the gate; None asks nobody.

    Raises:
        WordmillError: it can't be; everything is as it was.
    """
    registry = opened(name)
    _check_order(registry)  # before a gate that takes minutes
    registry.check_tested(version)
    expected = registry.holder_of(CHAMPION)
    verdict = None
    if judge is not None and version != expected:
        verdict = judge(version, expected)
        check_verdict(version, verdict, reason)
    entry = promote(
        registry, version, expected=expected, reason=reason, by=whoami(), verdict=verdict
    )
    return _said(name, entry)


def consider(
    registry: Registry, number: str, *, judge: Judge | None, by: str, check: Check
) -> Entry | None:
    """Promote a new version where there is no champion yet, or where the gate says so.

    Args:
        registry: of the project.
        number: the version.
        judge: the gate; None leaves a champion in its place.
        by: who promotes.
        check: as for `promote`.

    Raises:
        WordmillError: it can't be; everything is as it was.
    """
    champion = registry.holder_of(CHAMPION)
    if champion == number or (champion is not None and judge is None):
        return None
    _check_order(registry)
    verdict = judge(number, champion) if judge is not None else None
    if verdict is not None and verdict["decision"] != "PROMOTE":
        return None
    reason = "" if champion else "the first champion"
    return promote(
        registry, number, expected=champion, reason=reason, by=by, verdict=verdict, check=check
    )


def is_decided(registry: Registry, number: str) -> bool:
    """Whether nothing is left to do about a tested version: it is champion, was, or may not be.

    Args:
        registry: of the project.
        number: the version.

    Raises:
        DisagreementError: the log was edited.
    """
    champion, said = registry.holder_of(CHAMPION), registry.gate_said(number)
    if champion == number:
        return True
    if said != "PROMOTE":
        return said is not None
    # A kill may lie between the gate's word and the alias; a rollback may have followed both.
    return champion is not None and number in _champions(registry.name)


@answering()
def roll_back(name: str, *, to: str | None, reason: str) -> str:
    """Make the champion before, or another version, champion again.

    Args:
        name: of the registered model.
        to: another version than the one before.
        reason: why.

    Raises:
        WordmillError: it can't be; everything is as it was.
    """
    registry = opened(name)
    _check_order(registry)
    champion = registry.holder_of(CHAMPION)
    number = to or champion_before(_done(name), champion)
    if number is None:
        raise ParamsError(
            f"{LOG_FILE} knows of no champion before version {champion or 'none'}; name one:"
            " wordmill rollback --to VERSION"
        )
    registry.check_tested(number)
    if number not in _champions(name) and not reason.strip():
        raise ParamsError(
            f"version {number} of {name} was never champion; `wordmill promote {number}` asks the"
            " gate, --reason TEXT goes there all the same"
        )
    entry = promote(
        registry,
        number,
        expected=champion,
        reason=reason or f"back from version {champion}",
        by=whoami(),
        verdict=None,
        act="rollback",
    )
    return _said(name, entry)


@answering()
def reconcile_to(name: str, to: str, *, reason: str) -> str:
    """Let registry, champion.json and log agree again, and say on what.

    Args:
        name: of the registered model.
        to: `registry`, `file` or a version.
        reason: why.

    Raises:
        WordmillError: they can't; everything is as it was.
    """
    registry = opened(name)
    entry = reconcile(registry, to, reason=reason, by=whoami())
    if entry is None:
        champion = registry.holder_of(CHAMPION) or "none"
        return f"nothing to reconcile: champion of {name} is version {champion} everywhere"
    return _said(name, entry)


@answering()
def history(name: str, *, is_json: bool, is_verified: bool) -> str:
    """The champions, one after another.

    Args:
        name: of the registered model.
        is_json: for programs; what is verified is said in words.
        is_verified: say only whether the log is as it was written and agrees with the registry.

    Raises:
        DisagreementError: the log was edited, or does not agree with the registry.
        BusyError: it is to be verified, and a promotion is at work.
        ParamsError: it is to be verified, and there is no registry.
    """
    log = PromotionLog(LOG_FILE)
    if problems := log.problems():
        raise DisagreementError(f"{LOG_FILE}: {'; '.join(problems)}; take the file back from git")
    if is_verified:
        _check_order(opened(name))
        return f"{LOG_FILE}: {len(log.lines())} lines, none edited, removed or moved; all agree"
    if has_store():  # a clone may have the log alone
        tell(settled(opened(name)))
    return as_json(log.done()) if is_json else table(log.done())


def settled(registry: Registry) -> list[str]:
    """Complete or undo what a kill left half-done; returns a line for each thing that was mended.

    Raises:
        DisagreementError: the log was edited.
    """
    try:
        with registry_alone():
            return settle(registry)
    except BusyError:  # not half-done: somebody is doing it
        return []


def _check_order(registry: Registry) -> None:
    """Mend what a kill left, and see that log, file and registry agree.

    With the lock held: in the middle of a promotion they do not.
    """
    with registry_alone():
        tell(settle(registry))
        check_agreement(registry)


def whoami() -> str:
    """Who promotes: the name in git, and the account."""
    account = f"{getpass.getuser()}@{platform.node()}"
    name = subprocess.run(
        ["git", "config", "user.name"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return f"{name} ({account})" if name else account


def _done(name: str) -> list[Done]:
    """The promotions of one model."""
    return [one for one in PromotionLog(LOG_FILE).done() if one.entry["model"] == name]


def _champions(name: str) -> set[str | None]:
    """Every version that ever was champion."""
    return {one.entry["to_version"] for one in _done(name)}


def _said(name: str, entry: Entry) -> str:
    version, before = entry["to_version"], entry["from_version"]
    now = f"version {version}" if version else "none"
    against = f", against the gate's {entry['decision']}" if entry["is_against_gate"] else ""
    return f"champion of {name}: {now} (was {before or 'none'}){against}"

"""Which version is champion: the one place that changes it.

One process of a project at a time does; others are told to wait. Processes elsewhere, on the same
registry, hold no lock of this project: they are noticed by reading the alias right before and
after it moves (flows/moving.py), and by the registry's knowing the log's last line.
"""

import sys
from collections.abc import Callable

from flows.champion_file import LOG_FILE, disagreement, written_champion
from flows.moving import MENDED_BY, Moving, Step, changed, nothing
from flows.parity import check_version
from flows.promotion_log import Act, DisagreementError, Entry, PromotionLog
from flows.registry import CHAMPION, FILES_TAG, Registry, registry_alone
from wordmill.errors import ParamsError
from wordmill.gate.verdict import Verdict

Check = Callable[[Registry, str], None]


def promote(
    registry: Registry,
    number: str,
    *,
    expected: str | None,
    reason: str,
    by: str,
    verdict: Verdict | None,
    act: Act = "promotion",
    check: Check = check_version,
    step: Step = nothing,
) -> Entry:
    """Make a version champion, or leave everything as it is.

    Args:
        registry: the version's.
        number: the version.
        expected: the champion that this was decided against; None where there was none.
        reason: why; needed to go against the gate.
        by: who.
        verdict: the gate's.
        act: what it is.
        check: raises a DataError where the version must not be champion; nothing overrides it.
        step: is told of each step when it is done.

    Raises:
        ParamsError: there is no such version, it was never tested, it is champion already, or
            the gate is against it and no reason is given.
        ChangedError: the champion is another one now.
        BusyError: another promotion of this project is at work.
        DisagreementError: registry and files do not name the same champion.
        DataError: the version is damaged, can't be loaded or answers otherwise.
    """
    check_verdict(number, verdict, reason)
    assert verdict is None or verdict["champion"] == expected
    with registry_alone():
        tell(settle(registry))
        check_agreement(registry)
        if (found := registry.holder_of(CHAMPION)) != expected:
            raise changed(expected, found)
        if number == expected:
            raise ParamsError(f"version {number} of {registry.name} is champion already")
        registry.check_tested(number)
        check(registry, number)
        step("checked")
        moving = Moving(registry, step)
        entry = moving.begin(act, number, before=expected, by=by, reason=reason, verdict=verdict)
        moving.move(entry, holder=expected)
    return entry


def reconcile(
    registry: Registry, to: str, *, reason: str, by: str, check: Check = check_version
) -> Entry | None:
    """Let registry, champion.json and log name one champion again; None where they did.

    Args:
        registry: of the project.
        to: `registry` takes the registry's champion, `file` that of champion.json, and a number
            another version. Whichever it is has to pass the tests.
        reason: why.
        by: who.
        check: as for `promote`.

    Raises:
        ParamsError: there is no such version, or another one is asked for and nothing to reconcile.
        BusyError: another promotion of this project is at work.
        DataError: the version does not pass.
        DisagreementError: the log was edited.
    """
    with registry_alone():
        tell(settle(registry))
        holder = registry.holder_of(CHAMPION)
        words = disagreement(registry, PromotionLog(LOG_FILE))
        if words is None:
            if to in ("registry", "file", holder):
                return None
            raise ParamsError(
                f"nothing to reconcile: champion of {registry.name} is version {holder or 'none'}"
                f" everywhere; `wordmill promote {to}` asks the gate"
            )
        number = _asked_version(registry, to, holder)
        if number is not None:
            registry.check_tested(number)
            check(registry, number)
        registry.create_if_absent()
        moving = Moving(registry)
        why = "; ".join(part for part in (words, reason) if part)
        before = _written_version(registry) or holder
        entry = moving.begin("reconciliation", number, before=before, by=by, reason=why)
        if number == holder:
            moving.confirm(entry)
        else:
            moving.move(entry, holder=holder)
    return entry


def settle(registry: Registry) -> list[str]:
    """Complete or undo what a kill left half-done; the caller holds the registry's lock.

    Returns:
        A line for each thing that was mended.

    Raises:
        DisagreementError: the log was edited.
    """
    log = PromotionLog(LOG_FILE)
    said = [f"Repaired: half a line at the end of {LOG_FILE} is removed."] if log.mend() else []
    lines = log.lines()
    if not lines or lines[-1]["kind"] != "begun":
        return said
    entry = lines[-1]
    own = Registry(registry.client, entry["model"])
    what = f"the {entry['act']} of version {entry['to_version']} (line {entry['number']})"
    holder = own.holder_of(CHAMPION)
    if holder == entry["to_version"]:
        Moving(own).confirm(entry, "completed after a kill")
        return [*said, f"Repaired: {what} was cut off after the alias had moved; it is completed."]
    Moving(own).undo(entry, "undone after a kill")
    left = f"champion is {f'version {holder}' if holder else 'none'}"
    return [*said, f"Repaired: {what} was cut off before the alias moved; it is undone, {left}."]


def check_agreement(registry: Registry) -> None:
    """See that registry, champion.json and log name the same champion.

    Raises:
        DisagreementError: they do not, or the log was edited.
    """
    if words := disagreement(registry, PromotionLog(LOG_FILE)):
        raise DisagreementError(f"{words}; {MENDED_BY}")


def check_verdict(number: str, verdict: Verdict | None, reason: str) -> None:
    """See that a promotion against the gate has a reason.

    Raises:
        ParamsError: it has none.
    """
    if verdict is None:
        return
    assert verdict["challenger"] == number
    if verdict["decision"] == "PROMOTE" or reason.strip():
        return
    against = [one["said"] for one in verdict["findings"] if one["decision"] != "PROMOTE"]
    raise ParamsError(
        f"the gate says {verdict['decision']} to version {number}: {'; '.join(against)};"
        " --reason TEXT promotes it all the same"
    )


def tell(lines: list[str]) -> None:
    """Say what was mended."""
    for line in lines:
        print(line, file=sys.stderr)


def _written_version(registry: Registry) -> str | None:
    written = written_champion()
    return written["version"] if written and written["model"] == registry.name else None


def _asked_version(registry: Registry, to: str, holder: str | None) -> str | None:
    """The version that a reconciliation is about."""
    if to == "registry":
        return holder
    if to != "file":
        return to
    written = written_champion()
    if written is None or written["model"] != registry.name or written["version"] is None:
        raise ParamsError(f"--reconcile file: champion.json names no version of {registry.name}")
    found = registry.version(written["version"])
    if (found.run_id, found.tags.get(FILES_TAG)) != (written["run_id"], written["files"]):
        raise ParamsError(
            f"--reconcile file: version {found.version} of this registry was made by run"
            f" {found.run_id}, that of champion.json by {written['run_id']}, in another registry"
        )
    return written["version"]

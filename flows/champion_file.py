"""registry/champion.json: which version is champion, for git and for those without a registry.

It agrees with the log of promotions and with the registry. Where it does not, somebody moved the
alias by hand, or promoted in another clone.
"""

import json
from pathlib import Path
from typing import TypedDict

from flows.promotion_log import DisagreementError, Entry, PromotionLog, sync_folder
from flows.registry import CHAMPION, Registry
from wordmill.files import replaced_file, write_json

PLACE = Path("registry")
CHAMPION_FILE = PLACE / "champion.json"
LOG_FILE = PLACE / "promotions.jsonl"


class Champion(TypedDict):
    """What the file says."""

    model: str
    """The registered model's name."""
    version: str | None
    """None where there is no champion."""
    run_id: str | None
    """The run that made it."""
    files: str | None
    """The hash of the list of its files."""
    entry: int
    """The number of the log's line that made it champion."""
    entry_sha256: str


def written_champion() -> Champion | None:
    """What the file says, None where there is none.

    Raises:
        DisagreementError: the file is not as it was written.
    """
    if not CHAMPION_FILE.exists():
        return None
    try:
        found = json.loads(CHAMPION_FILE.read_text(encoding="utf-8"))
        return Champion(**{name: found[name] for name in Champion.__annotations__})
    except (ValueError, KeyError, TypeError):
        words = f"{CHAMPION_FILE}: was edited; take the file back from git"
        raise DisagreementError(words) from None


def write_champion(entry: Entry) -> None:
    """Say that an entry's version is champion; what is said is on the disk when this returns."""
    with replaced_file(CHAMPION_FILE) as partial:
        write_json(partial, _said_after(entry))
    sync_folder(CHAMPION_FILE.parent)


def disagreement(registry: Registry, log: PromotionLog) -> str | None:
    """Where file, log and registry say different things, in words; None where they agree.

    Raises:
        DisagreementError: a file is not as it was written.
    """
    holder, file, done = registry.holder_of(CHAMPION), written_champion(), log.done()
    there = f"the registry has {_named(holder)}"
    if file is None:
        if holder is None and not done:
            return None
        return f"{there}, and {CHAMPION_FILE} is missing"
    if file["model"] != registry.name:
        return f"{CHAMPION_FILE} is of the model {file['model']}, params.yaml names {registry.name}"
    last = done[-1].entry if done else None
    if last is None or (last["number"], last["sha256"]) != (file["entry"], file["entry_sha256"]):
        is_behind = last is None or last["number"] < file["entry"]
        return (
            f"{CHAMPION_FILE} rests on line {file['entry']} of {LOG_FILE}, which"
            f" {'is missing' if is_behind else 'is not its last promotion'}"
        )
    if file["version"] != holder:
        return f"{there}, {CHAMPION_FILE} {_named(file['version'])}"
    if file != _said_after(last):
        return f"{CHAMPION_FILE} is not what line {last['number']} of {LOG_FILE} says"
    return _forked(registry, log)


def _said_after(entry: Entry) -> Champion:
    return {
        "model": entry["model"],
        "version": entry["to_version"],
        "run_id": entry["run_id"],
        "files": entry["files"],
        "entry": entry["number"],
        "entry_sha256": entry["sha256"],
    }


def _forked(registry: Registry, log: PromotionLog) -> str | None:
    """Whether the registry has heard of lines that this log does not have."""
    head = registry.head
    if head is None or head in {f"{line['number']} {line['sha256']}" for line in log.lines()}:
        return None
    number = head.partition(" ")[0]
    return f"the registry knows of line {number} of {LOG_FILE}, which is missing or another here"


def _named(version: str | None) -> str:
    return f"version {version}" if version else "no champion"

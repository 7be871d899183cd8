"""The steps by which the champion's alias moves, and what a kill between two of them leaves.

1. `begun`: a line of the log says what is going to happen, 2. the alias moves, 3. champion.json
says so, 4. `done`: a line confirms it. A line without its end, the last one alone, tells of a kill:
where the alias is at the version that it names, steps 3 and 4 are done again, otherwise nothing had
happened. The caller holds the registry's lock.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from flows.champion_file import LOG_FILE, write_champion
from flows.promotion_log import Act, DisagreementError, Entry, PromotionLog
from flows.registry import CHALLENGER, CHAMPION, FILES_TAG, Registry
from wordmill.errors import TryAgainError
from wordmill.gate.verdict import Verdict

Step = Callable[[str], None]

MENDED_BY = (
    "`wordmill promote --reconcile registry` takes the registry's champion, `--reconcile file` the"
    " file's"
)


class ChangedError(TryAgainError):
    """The champion that a decision was made against is champion no longer."""


def nothing(_: str) -> None:
    """A step that nobody waits for."""


class Moving:
    """Moves the champion's alias of a registry.

    Args:
        registry: whose alias moves.
        step: is told of each step when it is done.
    """

    def __init__(self, registry: Registry, step: Step = nothing) -> None:
        self._registry, self._step = registry, step
        self._log = PromotionLog(LOG_FILE)

    def begin(
        self,
        act: Act,
        number: str | None,
        *,
        before: str | None,
        by: str,
        reason: str,
        verdict: Verdict | None = None,
    ) -> Entry:
        """Say what is going to happen."""
        made = self._registry.version(number) if number is not None else None
        decision = verdict["decision"] if verdict else None
        return self._add(
            {
                "kind": "begun",
                "act": act,
                "model": self._registry.name,
                "from_version": before,
                "to_version": number,
                "run_id": made.run_id if made else None,
                "files": made.tags.get(FILES_TAG) if made else None,
                "by": _storable(by),
                "reason": _storable(reason),
                "decision": decision,
                "is_against_gate": decision not in (None, "PROMOTE"),
                "sets": verdict["sets"] if verdict else {},
                "findings": verdict["findings"] if verdict else [],
            }
        )

    def move(self, entry: Entry, *, holder: str | None) -> None:
        """Move the alias from `holder` to the entry's version and confirm it.

        Raises:
            ChangedError: another process, elsewhere, has moved it since.
            DisagreementError: another process, elsewhere, moved it in the same moment.
        """
        number = entry["to_version"]
        assert number is not None
        found = self._registry.holder_of(CHAMPION)
        if found != holder:
            self.undo(entry, f"champion was {found or 'none'} by then")
            raise changed(holder, found)
        self._registry.give(CHAMPION, number)
        self._step("moved")
        found = self._registry.holder_of(CHAMPION)
        if found != number:
            self.undo(entry, f"champion was {found or 'none'} a moment later")
            raise DisagreementError(
                f"version {number} was champion for a moment, then another machine moved the alias"
                f" to {found or 'none'}; {MENDED_BY}"
            )
        self.confirm(entry)

    def confirm(self, entry: Entry, note: str | None = None) -> None:
        """Bring the rest in line with an alias that has moved."""
        if entry["to_version"] is not None:
            self._registry.take(CHALLENGER, entry["to_version"])
            self._step("freed")
        write_champion(entry)
        self._step("written")
        self._end("done", entry, note)

    def undo(self, entry: Entry, note: str) -> None:
        """Say that nothing came of an entry."""
        self._end("undone", entry, note)

    def _end(self, kind: str, entry: Entry, note: str | None) -> None:
        noted = {"note": note} if note else {}
        self._add({"kind": kind, "of": entry["number"], **noted})

    def _add(self, values: dict[str, Any]) -> Any:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        line = self._log.add({"at": at, **values})
        self._step(line["kind"])
        self._registry.head = f"{line['number']} {line['sha256']}"
        self._step(f"{line['kind']} told")
        return line


def changed(expected: str | None, found: str | None) -> ChangedError:
    """What to raise where the champion is not the one that a decision was made against."""
    return ChangedError(
        f"the champion has changed from {expected or 'none'} to {found or 'none'} since; try again"
    )


def _storable(words: str) -> str:
    """Without what is no text: a command line may hold any bytes."""
    return words.encode(errors="replace").decode()

"""The log of promotions as people and programs read it."""

import json

from flows.promotion_log import Done, Entry

_MAX_REASON_CHARS = 72
_HEADINGS = ("line", "when (UTC)", "champion", "act", "gate", "by", "why")


def champion_before(done: list[Done], champion: str | None) -> str | None:
    """The champion before this one; a rollback goes on from there, not back to where it came from.

    Args:
        done: the promotions of one model.
        champion: now.
    """
    for entry, _ in reversed(done):
        has_moved = entry["from_version"] != entry["to_version"]  # a reconciliation may not
        if entry["to_version"] == champion and has_moved and entry["act"] != "rollback":
            return entry["from_version"]
    return None


def table(done: list[Done]) -> str:
    """A line for each promotion, the last one last."""
    if not done:
        return "no version was ever champion here"
    rows = [_HEADINGS, *map(_row, done)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    lines = ("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def as_json(done: list[Done]) -> str:
    """Every promotion with its end."""
    return json.dumps([{**entry, "end": end} for entry, end in done], indent=2, ensure_ascii=False)


def _row(one: Done) -> tuple[str, ...]:
    entry, end = one
    return (
        str(entry["number"]),
        entry["at"].partition("+")[0].replace("T", " "),
        f"{entry['from_version'] or 'none'} -> {entry['to_version'] or 'none'}",
        entry["act"],
        f"{entry['decision'] or '-'}{' (overridden)' if entry['is_against_gate'] else ''}",
        _printable(entry["by"]),
        _why(entry, end.get("note", "")),
    )


def _why(entry: Entry, note: str) -> str:
    words = _printable("; ".join(part for part in (entry["reason"], note) if part))
    return words if len(words) <= _MAX_REASON_CHARS else f"{words[:_MAX_REASON_CHARS]}…"


def _printable(words: str) -> str:
    """On one line, without what moves a terminal's cursor."""
    return "".join(c if c.isprintable() else " " for c in words)

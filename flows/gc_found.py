"""What `wordmill gc` has found, as people read it: what nothing needs, what stays, and why."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wordmill.errors import WordmillError

_MOST_LINES = 8


@dataclass(frozen=True, kw_only=True)
class Loose:
    """Something that nothing needs."""

    what: str
    why: str
    num_bytes: int
    num: int = 1
    """Of the objects or files that it stands for."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """What stays by one word; two may hold the same object."""

    by: str
    num: int
    num_bytes: int | None = None
    """None where taking them together would take long."""


def _free_nothing() -> None:
    return


@dataclass(kw_only=True)
class Part:
    """All of one kind."""

    kind: str
    loose: list[Loose] = field(default_factory=list[Loose])
    held: list[Held] = field(default_factory=list[Held])
    young_bytes: int = 0
    """Of what stays for its youth alone."""
    error: WordmillError | None = None
    """Why nothing of this kind is freed: it can't be told what is needed."""
    free: Callable[[], None] = _free_nothing

    @property
    def num_bytes(self) -> int:
        """Of all that nothing needs."""
        return sum(one.num_bytes for one in self.loose)

    def end(self, error: WordmillError) -> None:
        """Free nothing of this kind, and say why."""
        self.loose, self.free, self.error = [], _free_nothing, error


def as_text(parts: list[Part], *, is_freed: bool, next_line: str) -> str:
    """A table for each kind, and what to type next.

    Args:
        parts: what was found, or freed.
        is_freed: whether it is gone.
        next_line: the command that frees it.
    """
    held = [line for part in parts for line in _held(part)]
    stopped = [f"Not freed, {p.kind}: {p.error}" for p in parts if p.error]
    if not any(part.loose for part in parts):
        if stopped:
            return "\n".join(stopped)
        young = sum(part.young_bytes for part in parts)
        told = f"; {size(young)} that nobody needs are young, see --keep-days" if young else ""
        return f"Nothing to free{told}."
    total = sum(part.num_bytes for part in parts)
    lines = [f"{'Freed' if is_freed else 'Would free'} {size(total)}"]
    lines += [line for part in parts if part.loose for line in _loose(part)]
    lines += ["Kept", *held] if held else []
    lines += stopped
    return "\n".join(lines if is_freed else [*lines, f"`{next_line}` frees it."])


def as_json(parts: list[Part], *, is_freed: bool) -> str:
    """The same for programs, with every line."""
    return json.dumps(
        {
            "is_freed": is_freed,
            "bytes": sum(part.num_bytes for part in parts),
            "young_bytes": sum(part.young_bytes for part in parts),
            "parts": [_told(part) for part in parts],
        },
        indent=2,
        ensure_ascii=False,
    )


def size(num_bytes: int) -> str:
    """Bytes as people say them, by thousands."""
    value, units = float(num_bytes), ["bytes", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.0f} bytes" if units[0] == "bytes" else f"{value:.1f} {units[0]}"


def bytes_of(place: Path) -> int:
    """Bytes of a file or of all files in a folder; links and what they lead to are not counted."""
    if place.is_symlink() or not place.exists():
        return 0
    files = [place] if place.is_file() else place.rglob("*")
    found = [file.lstat() for file in files if file.is_file() and not file.is_symlink()]
    # A file that another folder has too gives nothing back.
    return sum(one.st_size for one in found if one.st_nlink == 1)


def _loose(part: Part) -> list[str]:
    total = sum(one.num for one in part.loose)
    lines = [f"  {part.kind}: {total}, {size(part.num_bytes)}"]
    largest = sorted(part.loose, key=lambda one: -one.num_bytes)
    lines += [
        _row(one.num_bytes, one.num, f"{one.what}: {one.why}") for one in largest[:_MOST_LINES]
    ]
    return [*lines, *_more(part.loose)]


def _held(part: Part) -> list[str]:
    if not part.held:
        return []
    lines = [_row(one.num_bytes, one.num, one.by) for one in part.held[:_MOST_LINES]]
    return [f"  {part.kind}", *lines, *_more(part.held)]


def _row(num_bytes: int | None, num: int, words: str) -> str:
    told = "" if num_bytes is None else size(num_bytes)
    return f"    {told:>10}  {num:>5}  {words}"


def _more(all_of_them: list[Any]) -> list[str]:
    more = len(all_of_them) - _MOST_LINES
    return [f"    {'':>10}  {'':>5}  and {more} more"] if more > 0 else []


def _told(part: Part) -> dict[str, Any]:
    return {
        "kind": part.kind,
        "bytes": part.num_bytes,
        "loose": [vars(one) for one in part.loose],
        "held": [vars(one) for one in part.held],
        "error": str(part.error) if part.error else None,
    }

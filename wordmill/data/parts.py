"""What a source consists of: parts that are read, or found unchanged, each by itself.

A part is a file, two parallel files, the answer to a query, a split of a hub's data set, or
what a Python carries.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import BinaryIO

from wordmill.data.addresses import File, errors_named
from wordmill.data.rows import Result
from wordmill.data.streams import members


def _untold() -> str:
    return ""


@dataclass(frozen=True)
class Part:
    """A part of a source."""

    name: str
    """What it is called in records and messages."""
    results: Callable[[], Iterator[Result]]
    """Reads it."""
    identity: Callable[[], str]
    """Tells what changes with its content; empty if nobody knows."""
    stamp: Callable[[], str] = _untold
    """Tells, for less, what changes when it may have changed; empty if nothing does."""
    size: int | None = None
    """In bytes, where that is known before it is read."""
    is_outside: bool = True
    """Whether DVC can't see it."""


def part_of(files: list[File], *, results: Callable[[], Iterator[Result]]) -> Part:
    """A part that consists of files.

    Args:
        files: in their order.
        results: reads them.
    """
    name = " + ".join(file.name for file in files)
    with errors_named(name):
        sizes = [file.size for file in files]
    return Part(
        name=name,
        results=results,
        identity=lambda: _all_or_nothing(_named(file, file.identity) for file in files),
        stamp=lambda: _all_or_nothing(_named(file, file.stamp) for file in files),
        size=None if None in sizes else sum(size for size in sizes if size is not None),
        is_outside=any(file.is_outside for file in files),
    )


def opened_members(file: File) -> Iterator[tuple[str, BinaryIO]]:
    """Yield the name and content of each file in a file: one, but for a zip.

    Raises:
        DataError: it is damaged, or can't be read.
        TryAgainError: its server does not answer.
    """
    with errors_named(file.name), ExitStack() as stack:
        stream = stack.enter_context(file.open())
        yield from members(stream, file.name)


def _named(file: File, ask: Callable[[], str]) -> str:
    with errors_named(file.name):
        return ask()


def _all_or_nothing(told: Iterable[str]) -> str:
    values = list(told)
    return " + ".join(values) if all(values) else ""

"""The last ingest, kept so that what did not change is not read again.

The folder holds the output's own files as further links (they cost no disk) and what was known
of each part: where its rows stand follows from how many the parts before it gave. A part is the
same if its source's entry, the code and the part itself are.
"""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from wordmill.data.parts import Part
from wordmill.data.quarantine import FILE as QUARANTINE
from wordmill.data.quarantine import Quarantine
from wordmill.data.records import (
    KINDS,
    SPLITS,
    Kind,
    RecordWriter,
    Split,
    count_records,
    kind_name,
    records_path,
)
from wordmill.files import replaced_folder, write_json

_STATE = "parts.json"


@dataclass
class Known:
    """What is known of a part that was read."""

    key: str
    """Of everything but the part itself that its rows follow from."""
    name: str
    stamp: str
    identity: str
    is_outside: bool
    size: int | None
    num_good: int
    num_bad: int
    counts: dict[str, int]
    """Records by `documents.train` and the like."""
    quarantine_bytes: int
    read_at: str
    """UTC."""


def place_of(kind: Kind, split: Split) -> str:
    """What counts of one kind and split are kept under."""
    return f"{kind_name(kind)}.{split}"


class Previous:
    """What an earlier ingest left, if it left anything whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts = _read_state(folder)
        self._places = {(p.key, p.name): number for number, p in enumerate(self._parts)}
        self._starts = list(accumulate(map(_extent, self._parts), _sum, initial=Counter[str]()))
        self._shelves: dict[tuple[Kind, Split], _Shelf] = {}

    def unchanged(self, key: str, part: Part) -> tuple[int, Known] | None:
        """What is known of a part, and its number, if it did not change since."""
        number = self._places.get((key, part.name))
        if number is None:
            return None
        known = self._parts[number]
        if (stamp := part.stamp()) and stamp == known.stamp:
            return number, known
        identity = part.identity()
        if not identity or identity != known.identity:
            return None
        return number, replace(known, stamp=stamp)

    def taking_over(self, writer: RecordWriter, quarantine: Quarantine) -> "TakingOver":
        """What gives on the rows of parts to a new output."""
        return TakingOver(self._copy, writer, quarantine)

    def _copy(self, numbers: range, writer: RecordWriter, quarantine: Quarantine) -> None:
        start, stop = self._starts[numbers.start], self._starts[numbers.stop]
        for kind in KINDS:
            for split in SPLITS:
                place = place_of(kind, split)
                if stop[place] > start[place]:
                    for table in self._shelf(kind, split).rows(start[place], stop[place]):
                        writer.add_table(kind, split, table)
        parts = self._parts[numbers.start : numbers.stop]
        quarantine.accept(sum(part.num_good for part in parts))
        lines = self._quarantined(start[QUARANTINE], stop[QUARANTINE])
        quarantine.put_lines(lines, sum(part.num_bad for part in parts))

    def _shelf(self, kind: Kind, split: Split) -> "_Shelf":
        if (kind, split) not in self._shelves:
            self._shelves[kind, split] = _Shelf(records_path(self._folder, kind, split))
        return self._shelves[kind, split]

    def _quarantined(self, start: int, stop: int) -> bytes:
        with (self._folder / QUARANTINE).open("rb") as file:
            file.seek(start)
            return file.read(stop - start)


class TakingOver:
    """Gives on the rows of parts; those that stood one after the other go as one."""

    def __init__(
        self,
        copy: Callable[[range, RecordWriter, Quarantine], None],
        writer: RecordWriter,
        quarantine: Quarantine,
    ) -> None:
        self._copy, self._writer, self._quarantine = copy, writer, quarantine
        self._waiting = range(0)

    def add(self, number: int) -> None:
        """Give on the rows of a part, now or with those after it."""
        if self._waiting and number == self._waiting.stop:
            self._waiting = range(self._waiting.start, number + 1)
        else:
            self.finish()
            self._waiting = range(number, number + 1)

    def finish(self) -> None:
        """Give on what still waits; nothing else may be written before."""
        if self._waiting:
            self._copy(self._waiting, self._writer, self._quarantine)
        self._waiting = range(0)


def remember(output: Path, folder: Path, parts: list[Known]) -> None:
    """Keep an output and what is known of its parts for the next time.

    Args:
        output: as it stands in its place.
        folder: where it is kept.
        parts: in the order of their rows.
    """
    with replaced_folder(folder) as partial:
        files = [records_path(output, kind, split) for kind in KINDS for split in SPLITS]
        for file in [*files, output / QUARANTINE]:
            try:
                (partial / file.name).hardlink_to(file.resolve())
            except OSError:  # another disk, or a file system without links
                shutil.copyfile(file, partial / file.name)
        write_json(partial / _STATE, [asdict(part) for part in parts])


class _Shelf:
    """The rows of one file of records by their numbers."""

    def __init__(self, path: Path) -> None:
        self._file = pq.ParquetFile(path)
        metadata = self._file.metadata
        sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        self._starts = [0, *accumulate(sizes)]
        self._group, self._table = -1, pa.table({})  # the last one read: small parts share it

    def rows(self, start: int, stop: int) -> Iterator[pa.Table]:
        for group, (first, end) in enumerate(zip(self._starts, self._starts[1:], strict=False)):
            if first < stop and end > start:
                if group != self._group:
                    self._group, self._table = group, self._file.read_row_group(group)
                begin = max(start - first, 0)
                yield self._table.slice(begin, min(stop, end) - first - begin)


def _read_state(folder: Path) -> list[Known]:
    """The parts of a whole folder; none of one that is missing or damaged."""
    try:
        values: list[dict[str, Any]] = json.loads((folder / _STATE).read_text(encoding="utf-8"))
        parts = [Known(**value) for value in values]
        total = sum(map(_extent, parts), Counter[str]())
        for kind in KINDS:
            for split in SPLITS:
                if count_records(folder, kind, split) != total[place_of(kind, split)]:
                    return []
        is_whole = (folder / QUARANTINE).stat().st_size == total[QUARANTINE]
    except (OSError, ValueError, TypeError, pa.ArrowException):
        return []
    return parts if is_whole else []


def _extent(part: Known) -> Counter[str]:
    return Counter({**part.counts, QUARANTINE: part.quarantine_bytes})


def _sum(one: Counter[str], other: Counter[str]) -> Counter[str]:
    return one + other

"""What became of all records: counts for `dvc metrics diff`, samples for a reader."""

import json
from collections import Counter, defaultdict
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute

from wordmill.data.records import KINDS, SPLITS, Kind, Split, kind_name

_compute: Any = pyarrow.compute  # its functions are made when it is imported
_MAX_SAMPLES = 3
_TOLD_OF_SOURCES = ("rows", "bad", "documents", "pairs")
_EXCERPT_CHARS = 160

Report = dict[str, Any]


class Dropped(NamedTuple):
    """A record that was not kept."""

    id: str
    split: Split
    kind: str
    reason: str
    excerpt: str


class Tally:
    """Counts tables as they go by."""

    def __init__(self) -> None:
        self._read: Counter[tuple[str, Split]] = Counter()
        self._kept: Counter[tuple[str, Split]] = Counter()
        self._dropped: Counter[tuple[str, Split, str]] = Counter()
        self._chars: Counter[tuple[str, str]] = Counter()
        self._groups: dict[str, dict[str, Counter[str]]] = {
            name: defaultdict(Counter) for name in ("sources", "languages")
        }
        self._lengths: dict[str, Counter[int]] = defaultdict(Counter)
        self._changed: Counter[str] = Counter()
        self._masked: Counter[str] = Counter()
        self._samples: dict[str, list[str]] = defaultdict(list)
        self._cut: Counter[str] = Counter(documents=0, chars=0)
        self.num_augmented = 0

    def add_read(self, kind: Kind, split: Split, table: pa.Table) -> None:
        """Count a cleaned batch, kept or not."""
        self._read[kind_name(kind), split] += len(table)
        self._add_groups(table, "read")
        self._chars[kind_name(kind), "read"] += sum(table["given_chars"].to_pylist())
        for steps, count in _counts(table["changed"]):
            for step in filter(None, steps.split(",")):
                self._changed[step] += count
        for masked, count in _counts(table["masked"]):
            for name, items in (json.loads(masked) if masked else {}).items():
                self._masked[name] += items * count
        for sample in filter(None, table["sample"].to_pylist()):
            step, _, difference = sample.partition(": ")
            self._add_sample(step, difference)

    def add_kept(self, kind: Kind, split: Split, table: pa.Table) -> None:
        """Count records that stay."""
        name = kind_name(kind)
        self._kept[name, split] += len(table)
        self._add_groups(table, "kept")
        lengths = _lengths(table)
        self._chars[name, "kept"] += int(lengths.sum())
        powers = np.floor(np.log2(np.maximum(lengths, 1))).astype(int)
        for power, count in zip(*np.unique(powers, return_counts=True), strict=True):
            self._lengths[name][int(power)] += int(count)

    def add_dropped(self, dropped: Dropped) -> None:
        """Count a record that goes."""
        self._dropped[dropped.kind, dropped.split, dropped.reason] += 1
        self._add_sample(dropped.reason, dropped.excerpt)

    def add_cut(self, before: str, after: str) -> None:
        """Count a document that lost leaked sentences and stays."""
        self._cut["documents"] += 1
        self._cut["chars"] += len(before) - len(after)

    def report(self, sources: Report) -> Report:
        """All counts: by kind and split, by source and language, by step and by length.

        Args:
            sources: the record that ingest keeps of its sources, sources.json.
        """
        given: dict[str, Counter[str]] = defaultdict(Counter)
        for one in sources["sources"]:  # several entries may read one file
            given[one["name"]].update({what: one[what] for what in _TOLD_OF_SOURCES})
        report: Report = {"ingest": {name: dict(counts) for name, counts in given.items()}}
        for kind in map(kind_name, KINDS):
            report[kind] = {split: self._of_split(kind, split) for split in SPLITS}
            report[kind]["chars"] = {what: self._chars[kind, what] for what in ("read", "kept")}
            lengths = sorted(self._lengths[kind].items())
            report[kind]["lengths"] = {f"{1 << p}-{(2 << p) - 1}": n for p, n in lengths}
        for name, groups in self._groups.items():
            report[name] = {
                group: {"read": counts["read"], "kept": counts["kept"]}
                for group, counts in sorted(groups.items())
            }
        report["changed"] = dict(self._changed.most_common())
        report["masked"] = dict(self._masked.most_common())
        report["leaks_cut"] = dict(self._cut)
        report["augmented"] = self.num_augmented
        return report

    def samples(self) -> dict[str, list[str]]:
        """A few excerpts for each reason and each step that changed text."""
        return dict(sorted(self._samples.items()))

    def _of_split(self, kind: str, split: Split) -> Report:
        reasons = Counter(
            {r: n for (k, s, r), n in self._dropped.items() if (k, s) == (kind, split)}
        )
        return {
            "read": self._read[kind, split],
            "kept": self._kept[kind, split],
            "dropped": dict(reasons.most_common()),
        }

    def _add_groups(self, table: pa.Table, what: str) -> None:
        for name, column in (("sources", "origin"), ("languages", "language")):
            for group, count in _counts(table[column]):
                self._groups[name][group][what] += count

    def _add_sample(self, name: str, sample: str) -> None:
        if len(self._samples[name]) < _MAX_SAMPLES:
            self._samples[name].append(sample[:_EXCERPT_CHARS])


def _counts(column: pa.ChunkedArray) -> list[tuple[str, int]]:
    return [(one["values"], one["counts"]) for one in column.value_counts().to_pylist()]


def _lengths(table: pa.Table) -> Any:
    """Characters of each record, source and target together."""
    names = ("text",) if "text" in table.column_names else ("source", "target")
    return sum(_compute.utf8_length(table[name]).to_numpy() for name in names)

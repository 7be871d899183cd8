"""Records in, records out: the passes over all of them.

Held-out splits go first, so that a text that stands on both sides leaves the training set and
not the evaluation set. The first pass cleans each batch by itself, on all cores, and writes
down what rows are compared by; then duplicates and contamination are decided over all rows; the
last pass writes what is kept. Everything in between lies on disk, so that memory does not grow
with the text (about a hundred bytes for each record).
"""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wordmill.cleaning.augmentation import Synonyms, augmented, read_synonyms
from wordmill.cleaning.batch import CleanBatch
from wordmill.cleaning.blocklist import read_list
from wordmill.cleaning.character_table import Hashes
from wordmill.cleaning.contamination import HeldOutRuns, without_leaks
from wordmill.cleaning.duplicates import CONTAMINATED, DUPLICATE, KEPT, REASONS, RowKeys
from wordmill.cleaning.engine import cleaned_tables
from wordmill.cleaning.tally import Dropped, Tally
from wordmill.data.records import (
    KINDS,
    Document,
    Kind,
    Pair,
    RecordWriter,
    Split,
    content_id,
    kind_name,
    records_path,
    schema,
)
from wordmill.params.clean import CleanParams
from wordmill.progress import Progress
from wordmill.workers import Workers

HELD_OUT_FIRST: tuple[Split, ...] = ("test", "validation", "train")
_ROW_BITS = 48  # a row and its kind in one number
_EXCERPT_CHARS = 80
_SMALL_BYTES = 2_000_000  # compressed; about three seconds of work


class Cleaning:
    """One pass over a folder of records, and what was kept and dropped on it.

    Args:
        source: a folder of records as `ingest` wrote it.
        work: an empty folder for what lies between the passes.
        params: the `clean` section.
        seed: of augmentation.
        on_drop: is given every record that is not kept.
        progress: counts records.

    Raises:
        DataError: a list file is missing.
    """

    def __init__(
        self,
        source: Path,
        work: Path,
        params: CleanParams,
        *,
        seed: int,
        on_drop: Callable[[Dropped], None],
        progress: Progress,
    ) -> None:
        self._source, self._work, self._params = source, work, params
        self._seed, self._on_drop, self._progress = seed, on_drop, progress
        self._listed = self._list(params.blocklist)
        self._synonyms: Synonyms = read_synonyms(self._list(params.augment.synonyms))
        self._cut_ids: set[str] = set()
        self.tally = Tally()

    def run(self, writer: RecordWriter) -> None:
        """Clean everything and write what is kept."""
        with ExitStack() as stack:
            runs = stack.enter_context(HeldOutRuns(self._work / "runs"))
            workers = stack.enter_context(Workers(self._num_workers()))
            keys = {
                kind: stack.enter_context(
                    RowKeys(self._work / kind_name(kind), self._params.near_duplicates)
                )
                for kind in KINDS
            }
            for split in HELD_OUT_FIRST:
                if split == "train":
                    runs.close_held_out()
                for kind in KINDS:
                    self._clean(kind, split, keys[kind], runs, workers)
            leaks = runs.leaks()
            for index, kind in enumerate(KINDS):
                rows = leaks.rows[leaks.rows >> _ROW_BITS == index]
                verdicts = keys[kind].verdicts(rows & ((1 << _ROW_BITS) - 1))
                self._write(kind, verdicts, keys[kind], leaks.runs, writer)

    def _clean(
        self, kind: Kind, split: Split, keys: RowKeys, runs: HeldOutRuns, workers: Workers
    ) -> None:
        """Clean the rows of one file; those that rules are for go to a file of their own."""
        is_train = split == "train"
        clean = CleanBatch(
            params=self._params,
            kind=kind,
            listed=self._listed,
            held_out=runs.table if is_train else None,
        )
        path = records_path(self._source, kind, split)
        left = schema(kind).append(pa.field("given_id", pa.string()))
        with pq.ParquetWriter(records_path(self._work, kind, split), left) as writer:
            engine = self._params.engine
            for table in cleaned_tables(path, clean, engine=engine, workers=workers):
                self.tally.add_read(kind, split, table)
                self._progress.advance(len(table))
                is_left = table["reason"].is_null()
                is_gone = table["reason"].is_valid()
                self._drop(kind, split, table.filter(is_gone))
                table = table.filter(is_left)
                values, rows = _run_rows(table["runs"])
                if is_train:
                    index = KINDS.index(kind)
                    runs.add_training(values, (index << _ROW_BITS) + keys.num_rows + rows)
                else:
                    runs.add_held_out(values)
                keys.add(table, split=HELD_OUT_FIRST.index(split))
                writer.write_table(table.select(left.names))

    def _write(
        self, kind: Kind, verdicts: Any, keys: RowKeys, runs: Hashes, writer: RecordWriter
    ) -> None:
        start = 0
        reasons = pa.array(REASONS, pa.string())
        for split in HELD_OUT_FIRST:
            with pq.ParquetFile(records_path(self._work, kind, split)) as file:
                for group in range(file.num_row_groups):
                    table = file.read_row_group(group)
                    found = verdicts[start : start + len(table)]
                    start += len(table)
                    if kind is Document:
                        table, found = self._without_leaks(table, found, keys, runs)
                    kept = table.filter(pa.array(found == KEPT)).select(schema(kind).names)
                    dropped = table.append_column("reason", reasons.take(pa.array(found)))
                    self._drop(kind, split, dropped.filter(pa.array(found != KEPT)))
                    self.tally.add_kept(kind, split, kept)
                    writer.add_table(kind, split, kept)
                    if kind is Pair and split == "train":
                        self._augment(kept, writer)

    def _without_leaks(
        self, table: pa.Table, found: Any, keys: RowKeys, runs: Hashes
    ) -> tuple[pa.Table, Any]:
        """Cut leaked sentences out; what is too short then goes, and what is not new."""
        leaky = np.flatnonzero(found == CONTAMINATED)
        if len(leaky) == 0:
            return table, found
        texts, found = table["text"].to_pylist(), found.copy()
        ids = table["id"].to_pylist()
        size = self._params.contamination.ngram_words
        for place in leaky:
            left = without_leaks(texts[place], runs, ngram_words=size)
            if len(left) < max(1, self._params.length.min_document_chars):
                continue
            new_id = content_id(left)
            if new_id in self._cut_ids or keys.holds(bytes.fromhex(new_id)):
                found[place] = DUPLICATE
                continue
            self._cut_ids.add(new_id)
            self.tally.add_cut(texts[place], left)
            texts[place], ids[place], found[place] = left, new_id, KEPT
        for name, values in (("id", ids), ("text", texts)):
            column = table.schema.get_field_index(name)
            table = table.set_column(column, name, pa.array(values, pa.string()))
        return table, found

    def _num_workers(self) -> int | None:
        """One a core, but for so little text that starting them takes longer."""
        files = (records_path(self._source, k, s) for k in KINDS for s in HELD_OUT_FIRST)
        return None if sum(file.stat().st_size for file in files) > _SMALL_BYTES else 1

    def _augment(self, kept: pa.Table, writer: RecordWriter) -> None:
        if self._params.augment.copies == 0:
            return
        for row in zip(*(column.to_pylist() for column in kept.columns), strict=True):
            for copy in augmented(
                Pair._make(row), self._params.augment, synonyms=self._synonyms, seed=self._seed
            ):
                self.tally.num_augmented += 1
                writer.add("train", copy)

    def _drop(self, kind: Kind, split: Split, table: pa.Table) -> None:
        text = table["text" if kind is Document else "source"]
        columns = (table["given_id"], table["reason"], text)
        for given_id, reason, whole in zip(*(c.to_pylist() for c in columns), strict=True):
            dropped = Dropped(given_id, split, kind_name(kind), reason, whole[:_EXCERPT_CHARS])
            self.tally.add_dropped(dropped)
            self._on_drop(dropped)

    def _list(self, name: str | None) -> tuple[str, ...]:
        return read_list(Path(self._params.lists) / name) if name else ()


def _run_rows(runs: pa.ChunkedArray) -> tuple[Any, Any]:
    """The runs of a batch, and the row of each."""
    lists = runs.combine_chunks()
    lengths = lists.value_lengths().to_numpy()
    return lists.flatten().to_numpy(), np.repeat(np.arange(len(lengths)), lengths)

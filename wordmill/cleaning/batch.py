"""One batch of records cleaned: a pure function from table to table.

The same function runs in the worker processes of this machine, under `datasets.map` with
arrow tables, and under Ray Data's `map_batches`. Nothing is dropped here: a row that must go
carries its `reason`, and the columns `key`, `bands`, `shingles` and `runs` say what to compare
it by; see `cleaning.py` for what needs all rows.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from wordmill.cleaning.blocklist import holds_listed
from wordmill.cleaning.characters import Characters
from wordmill.cleaning.contamination import may_be_held_out, runs_of
from wordmill.cleaning.minhash import sketches
from wordmill.cleaning.quality import (
    c4_verdicts,
    fineweb_verdicts,
    gopher_verdicts,
    letter_verdicts,
)
from wordmill.cleaning.repetition import repetition_verdicts
from wordmill.cleaning.rows import Rows
from wordmill.cleaning.web_words import web_words
from wordmill.data.records import Document, Kind
from wordmill.params.clean import CleanParams

KEY_BYTES = 16


@dataclass(frozen=True, kw_only=True)
class CleanBatch:
    """Cleans tables of one kind.

    Args:
        params: the `clean` section.
        kind: of the records.
        listed: entries of the blocklist.
        held_out: the table of held-out runs that training rows are looked up in; None for
            held-out rows themselves.
    """

    params: CleanParams
    kind: Kind
    listed: tuple[str, ...] = ()
    held_out: Path | None = None

    def __call__(self, table: pa.Table) -> pa.Table:
        """Clean a table of `kind`'s columns; returns them and what was found out about each row."""
        rows = Rows(self.kind, table, self.params)
        characters = Characters(rows.judged)
        rows.tell_languages(characters)
        if self.listed:
            listed = np.array([holds_listed(text, self.listed) for text in rows.whole()])
            rows.drop([("blocklist", listed)])
        if self.kind is Document:
            self._judge(rows, characters)
        if self._is_classical():
            rows.preprocess()
            rows.drop([("empty", rows.is_empty)])
        return rows.table(self._compared(rows))

    def _judge(self, rows: Rows, characters: Characters) -> None:
        """Drop documents by the rules that are on, costly ones last and on what is left."""
        quality = self.params.quality
        if self.params.language.keep:
            is_kept = np.isin(rows.languages, self.params.language.keep)
            rows.drop([("language", ~is_kept)])
        rows.drop(letter_verdicts(characters, min_letters=quality.min_letters))
        if quality.c4.is_on:
            rows.drop(c4_verdicts(rows.judged, quality.c4))
        if not (quality.gopher.is_on or quality.fineweb.is_on or quality.gopher_repetition.is_on):
            return
        words = web_words(characters)
        if quality.gopher.is_on:
            rows.drop(
                gopher_verdicts(rows.judged, rows.languages, characters, words, quality.gopher)
            )
        if quality.fineweb.is_on:
            rows.drop(fineweb_verdicts(characters, words, quality.fineweb))
        if quality.gopher_repetition.is_on:
            words = words.only(rows.is_left[words.text_of])
            rows.drop(repetition_verdicts(characters, words, quality.gopher_repetition))

    def _compared(self, rows: Rows) -> dict[str, pa.Array]:
        """What the rows that are left are compared by."""
        near = self.params.near_duplicates
        num_texts = len(rows.judged)
        characters = Characters(rows.left(rows.judged))
        found = {"key": pa.array(rows.keys(), pa.binary(KEY_BYTES))}
        if near.is_on:
            sketch = sketches(characters, rows.salts(), near)
            bands = pa.array(sketch.bands.reshape(-1))
            found["bands"] = pa.FixedSizeListArray.from_arrays(bands, near.num_bands)
            found["shingles"] = _lists(sketch.first_of, pa.array(sketch.shingles))
        told = [rows.left(texts) for texts in rows.told()]
        parts = Characters([text for texts in told for text in texts])
        runs = runs_of(parts, ngram_words=self.params.contamination.ngram_words)
        row_of, hashes = runs.text_of % max(num_texts, 1), runs.hashes
        if self.held_out is not None:
            is_possible = may_be_held_out(self.held_out, hashes)
            row_of, hashes = row_of[is_possible], hashes[is_possible]
        order = np.argsort(row_of, kind="stable")
        first_of = np.searchsorted(row_of[order], np.arange(num_texts + 1))
        found["runs"] = _lists(first_of, pa.array(hashes[order]))
        return found

    def _is_classical(self) -> bool:
        classical = self.params.classical
        return (
            classical.is_lower_cased
            or classical.is_punctuation_removed
            or classical.are_stop_words_removed
            or classical.segmentation != "none"
        )


def _lists(first_of: Any, values: pa.Array) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(first_of, pa.int32()), values)

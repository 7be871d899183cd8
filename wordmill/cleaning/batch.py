"""One batch of records cleaned: a pure function from table to table.

The same function runs in the worker processes of this machine, under `datasets.map` with
arrow tables, and under Ray Data's `map_batches`. Nothing is dropped here: a row that must go
carries its `reason`, and the columns `key`, `bands`, `shingles` and `runs` say what to compare
it by; see `cleaning.py` for what needs all rows.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from wordmill.cleaning.blocklist import holds_listed
from wordmill.cleaning.characters import Bools, Characters, mixed
from wordmill.cleaning.classical import preprocess
from wordmill.cleaning.contamination import may_be_held_out, runs_of
from wordmill.cleaning.language import languages
from wordmill.cleaning.mending import Mended, mend
from wordmill.cleaning.minhash import sketches
from wordmill.cleaning.quality import (
    Verdict,
    c4_verdicts,
    fineweb_verdicts,
    gopher_verdicts,
    letter_verdicts,
)
from wordmill.cleaning.repetition import repetition_verdicts
from wordmill.cleaning.web_words import web_words
from wordmill.data.records import Document, Kind, Pair, content_id, schema
from wordmill.params.clean import CleanParams

KEY_BYTES = 16
_EXCERPT_CHARS = 200


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
        rows = _Rows(self.kind, table, self.params)
        characters = Characters(rows.judged)
        rows.tell_languages(characters)
        if self.listed:
            listed = np.array([holds_listed(text, self.listed) for text in rows.whole()])
            rows.drop([("blocklist", listed)])
        if self.kind is Document:
            self._judge(rows, characters)
        if self._is_classical():
            rows.preprocess()
        return rows.table(self._compared(rows))

    def _judge(self, rows: "_Rows", characters: Characters) -> None:
        """Drop documents by the rules that are on, dear ones last and on what is left."""
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

    def _compared(self, rows: "_Rows") -> dict[str, pa.Array]:
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
        # A pair's target may have been leaked as well as its source.
        whole = characters if self.kind is Document else Characters(rows.left(rows.whole()))
        text_of, hashes = runs_of(whole, ngram_words=self.params.contamination.ngram_words)
        if self.held_out is not None:
            is_possible = may_be_held_out(self.held_out, hashes)
            text_of, hashes = text_of[is_possible], hashes[is_possible]
        first_of = np.searchsorted(text_of, np.arange(num_texts + 1))
        found["runs"] = _lists(first_of, pa.array(hashes))
        return found

    def _is_classical(self) -> bool:
        classical = self.params.classical
        return (
            classical.is_lower_cased
            or classical.is_punctuation_removed
            or classical.are_stop_words_removed
            or classical.segmentation != "none"
        )


@dataclass
class _Rows:
    """The texts of a batch on their way."""

    kind: Kind
    given: pa.Table
    params: CleanParams
    texts: dict[str, list[str]] = field(init=False)
    """Cleaned columns by name."""
    languages: list[str] = field(init=False)
    reasons: list[str | None] = field(init=False)
    """Why each row is dropped."""

    def __post_init__(self) -> None:
        names = ("text",) if self.kind is Document else ("source", "ask", "target")
        self._mended: list[list[Mended]] = []
        self.texts = {}
        for name in names:
            mended = [mend(text, self.params) for text in self.given[name].to_pylist()]
            self.texts[name] = [one.text for one in mended]
            self._mended.append(mended)
        self.languages = self.given["language"].to_pylist()
        self.reasons = list(self._length_reasons())
        for texts in self.texts.values():  # some are huge
            for place in np.flatnonzero(~self.is_left):
                texts[place] = texts[place][:_EXCERPT_CHARS]

    @property
    def is_left(self) -> Bools:
        """Which rows no rule was against so far, shape (texts,)."""
        return np.array([reason is None for reason in self.reasons], dtype=np.bool_)

    def left(self, texts: list[str]) -> list[str]:
        """Texts of the rows that are left, nothing for the others."""
        pairs = zip(texts, self.reasons, strict=True)
        return [text if reason is None else "" for text, reason in pairs]

    def drop(self, verdicts: Iterable[Verdict]) -> None:
        """Drop what rules are against; the first reason of a row stays."""
        for reason, against in verdicts:
            for place in np.flatnonzero(against):
                self.reasons[place] = self.reasons[place] or reason

    @property
    def judged(self) -> list[str]:
        """What rules look at: a document's text, a pair's source."""
        return self.texts["text" if self.kind is Document else "source"]

    def whole(self) -> list[str]:
        """All text of each row, its parts in lines of their own."""
        return ["\n".join(parts) for parts in zip(*self.texts.values(), strict=True)]

    def _length_reasons(self) -> Iterator[str | None]:
        limits = self.params.length
        if self.kind is Document:
            for text in self.judged:
                yield _out_of(text, limits.min_document_chars, limits.max_document_chars)
            return
        for source, target in zip(self.texts["source"], self.texts["target"], strict=True):
            given = _out_of(source, limits.min_source_chars, limits.max_source_chars)
            wanted = _out_of(target, limits.min_target_chars, limits.max_target_chars)
            if given == "empty" or wanted == "empty":
                yield "empty"
            else:
                yield f"source_{given}" if given else wanted and f"target_{wanted}"

    def tell_languages(self, characters: Characters) -> None:
        if all(self.languages):
            return
        is_apart = self.kind is Pair
        told = self.texts["target"] if is_apart else self.judged
        seen = Characters(told) if is_apart else characters
        found = languages(told, seen, min_confidence=self.params.language.min_confidence)
        pairs = zip(self.languages, found, strict=True)
        self.languages = [stated or guessed for stated, guessed in pairs]

    def preprocess(self) -> None:
        for name, texts in self.texts.items():
            self.texts[name] = [
                preprocess(text, language=language, params=self.params.classical)
                for text, language in zip(texts, self.languages, strict=True)
            ]

    def identities(self) -> Iterator[tuple[str, ...]]:
        """What makes two rows the same: all of a document; what a pair is asked."""
        if self.kind is Document:
            yield from ((text,) for text in self.judged)
            return
        columns = (self.given["task"].to_pylist(), *self.texts.values())
        for task, source, ask, target in zip(*columns, strict=True):
            # Two answers to one question are a contradiction, two replies in a dialogue are not.
            yield (task, source, ask, target) if task == "dialogue" else (task, source, ask)

    def salts(self) -> Any:
        """Pairs that are asked something else are never near duplicates, shape (texts,)."""
        if self.kind is Document:
            return np.zeros(len(self.judged), dtype=np.uint64)
        asked = ((parts[0], *parts[2:]) for parts in self.identities())
        digests = b"".join(
            hashlib.blake2b("\x1f".join(a).encode(), digest_size=8).digest() for a in asked
        )
        return mixed(np.frombuffer(digests, dtype=np.uint64))

    def keys(self) -> list[bytes]:
        """Equal for exact duplicates."""
        return [bytes.fromhex(content_id(*parts)) for parts in self.identities()]

    def table(self, found: dict[str, pa.Array]) -> pa.Table:
        """The cleaned records and what was found out about them."""
        table = self.given.select(schema(self.kind).names)
        ids = [content_id(*parts) for parts in self._contents()]
        columns = {"id": ids, **self.texts, "language": self.languages}
        for name, values in columns.items():
            table = table.set_column(
                table.schema.get_field_index(name), name, pa.array(values, pa.string())
            )
        for name, values in {**self._findings(), **found}.items():
            table = table.append_column(name, values)
        return table

    def _contents(self) -> Iterator[tuple[str, ...]]:
        if self.kind is Document:
            return ((text,) for text in self.judged)
        return zip(self.given["task"].to_pylist(), *self.texts.values(), strict=True)

    def _findings(self) -> dict[str, pa.Array]:
        rows = [Mended.joined(parts) for parts in zip(*self._mended, strict=True)]
        return {
            "given_id": self.given["id"].combine_chunks(),
            "reason": pa.array(self.reasons, pa.string()),
            "changed": pa.array([",".join(row.changed) for row in rows], pa.string()),
            "masked": pa.array([json.dumps(row.masked) if row.masked else "" for row in rows]),
            "sample": pa.array([row.sample for row in rows], pa.string()),
        }


def _out_of(text: str, least: int, most: int) -> str | None:
    if not text.strip():
        return "empty"
    if len(text) < least:
        return "too_short"
    return "too_long" if len(text) > most else None


def _lists(first_of: Any, values: pa.Array) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(first_of, pa.int32()), values)

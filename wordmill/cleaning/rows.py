"""The rows of a batch while they are cleaned, and the table that they leave as."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from wordmill.cleaning.character_table import Hashes, mixed
from wordmill.cleaning.characters import Bools, Characters
from wordmill.cleaning.classical import preprocess
from wordmill.cleaning.language import languages
from wordmill.cleaning.mending import Mended, mend
from wordmill.cleaning.quality import Verdict
from wordmill.data.records import Document, Kind, Pair, content_id, schema
from wordmill.params.clean import CleanParams

_EXCERPT_CHARS = 200


@dataclass
class Rows:
    """The texts of a batch on their way: mended when made, then judged, then told of as a table."""

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
        given = {name: self.given[name].to_pylist() for name in names}
        is_page = self.kind is Document  # a label or a short answer is no boilerplate
        self._mended = {
            name: mend(texts, self.params, is_page=is_page) for name, texts in given.items()
        }
        self._given_chars = [sum(map(len, row)) for row in zip(*given.values(), strict=True)]
        self.texts = {name: mended.texts for name, mended in self._mended.items()}
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

    def told(self) -> list[list[str]]:
        """What a record tells, part by part: labels and languages are asked of every pair."""
        if self.kind is Document:
            return [self.judged]
        asks = zip(self.given["task"].to_pylist(), self.texts["ask"], strict=True)
        questions = [ask if task == "answer" else "" for task, ask in asks]
        return [self.texts["source"], self.texts["target"], questions]

    @property
    def is_empty(self) -> Bools:
        """Which rows lack a text that they need, shape (texts,)."""
        needed = (texts for name, texts in self.texts.items() if name != "ask")
        rows = zip(*needed, strict=True)
        return np.array([not all(map(str.strip, row)) for row in rows], dtype=np.bool_)

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
        told, seen = self.judged, characters
        if self.kind is Pair:
            # A label or a name tells little: only a translation is told by itself.
            rows = zip(self.given["task"].to_pylist(), told, self.texts["target"], strict=True)
            told = [target if task == "translate" else source for task, source, target in rows]
            seen = Characters(told)
        found = languages(told, seen, min_confidence=self.params.language.min_confidence)
        pairs = zip(self.languages, found, strict=True)
        self.languages = [stated or guessed for stated, guessed in pairs]

    def preprocess(self) -> None:
        for name, texts in self.texts.items():
            if name == "ask":  # a part of the prompt, which generation writes as it is
                continue
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

    def salts(self) -> Hashes:
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
        num_rows = len(self.reasons)
        changed, masked, sample = ([""] * num_rows for _ in range(3))
        for mended in self._mended.values():
            for row, steps in mended.changed.items():
                changed[row] = ",".join(
                    dict.fromkeys([*filter(None, changed[row].split(",")), *steps])
                )
            for row, found in mended.samples.items():
                sample[row] = sample[row] or found
        for row, found in _joined(self._mended.values()).items():
            masked[row], sample[row] = json.dumps(found), ""
        return {
            "given_id": self.given["id"].combine_chunks(),
            "reason": pa.array(self.reasons, pa.string()),
            "changed": pa.array(changed, pa.string()),
            "masked": pa.array(masked, pa.string()),
            "sample": pa.array(sample, pa.string()),
            "given_chars": pa.array(self._given_chars, pa.int64()),
        }


def _joined(parts: Iterable[Mended]) -> dict[int, dict[str, int]]:
    """What was masked in all texts of a row."""
    found: dict[int, Counter[str]] = defaultdict(Counter)
    for part in parts:
        for row, counts in part.masked.items():
            found[row].update(counts)
    return {row: dict(counts) for row, counts in found.items()}


def _out_of(text: str, least: int, most: int) -> str | None:
    if not text.strip():
        return "empty"
    if len(text) < least:
        return "too_short"
    return "too_long" if len(text) > most else None

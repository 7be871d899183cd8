"""Documents in, documents out: normalized, filtered, without exact duplicates.

Each text is normalized first and judged after; whatever is dropped has a reason. Held-out
splits go first, so that a text that stands on both sides leaves the training set and not the
evaluation set.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple, TypedDict

from wordmill.data.records import (
    Document,
    Pair,
    Split,
    content_id,
    count_records,
    read_records,
)
from wordmill.params.clean import CleanParams
from wordmill.progress import Progress

SPLITS_HELD_OUT_FIRST: tuple[Split, ...] = ("test", "validation", "train")

Reason = Literal[
    "empty",
    "too_short",
    "too_long",
    "few_letters",
    "source_too_short",
    "source_too_long",
    "target_too_short",
    "target_too_long",
    "duplicate",
    "duplicate_of_held_out",
]

_LINE_END = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_TRAILING_SPACE = re.compile(r"[^\S\n]+$", re.MULTILINE)
_BLANK_LINES = re.compile(r"\n{3,}")
# Controls but for tab and newline, and invisible marks that change bytes but not what is read:
# soft hyphen, zero-width space, word joiner, byte order mark. Zero-width joiners stay:
# Persian, Hindi and emoji need them.
_INVISIBLE = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u200b\u2060\ufeff]")


class SplitReport(TypedDict):
    """What became of one kind of record in one split."""

    read: int
    kept: int
    dropped: dict[str, int]
    """By reason."""


Report = dict[str, dict[str, SplitReport]]
"""kind -> split -> what became of it"""


class Dropped(NamedTuple):
    """A record that was not kept."""

    id: str
    split: Split
    kind: str
    reason: Reason
    excerpt: str


def normalize(text: str, *, unicode_form: Literal["NFC", "NFKC"]) -> str:
    """Unify line ends, Unicode form and blank space, and take out invisible characters."""
    text = _LINE_END.sub("\n", text)
    text = _INVISIBLE.sub("", unicodedata.normalize(unicode_form, text))
    text = _TRAILING_SPACE.sub("", text)
    return _BLANK_LINES.sub("\n\n", text).strip("\n")


def letter_fraction(text: str) -> float:
    """Share of letters of any script among the characters that are not space; 0 if none."""
    letters = sum(map(str.isalpha, text))
    seen = len(text) - sum(map(str.isspace, text))
    return letters / seen if seen else 0.0


def judge_document(text: str, params: CleanParams) -> Reason | None:
    """Why a normalized document is dropped, None if it is kept."""
    if not text.strip():
        return "empty"
    if len(text) < params.min_document_chars:
        return "too_short"
    if len(text) > params.max_document_chars:
        return "too_long"
    return "few_letters" if letter_fraction(text) < params.min_letter_fraction else None


def judge_pair(source: str, target: str, params: CleanParams) -> Reason | None:
    """Why a normalized pair is dropped, None if it is kept."""
    if not source.strip() or not target.strip():
        return "empty"
    if len(source) < params.min_source_chars:
        return "source_too_short"
    if len(source) > params.max_source_chars:
        return "source_too_long"
    if len(target) < params.min_target_chars:
        return "target_too_short"
    return "target_too_long" if len(target) > params.max_target_chars else None


class Cleaning:
    """One pass over a folder of records, and what was kept and dropped on it.

    Args:
        folder: records as `ingest` wrote them.
        params: the `clean` section.
        on_drop: is given every record that is not kept.
        progress: counts records.
    """

    def __init__(
        self,
        folder: Path,
        params: CleanParams,
        *,
        on_drop: Callable[[Dropped], None],
        progress: Progress,
    ) -> None:
        self._folder, self._params = folder, params
        self._on_drop, self._progress = on_drop, progress
        self._dropped: Counter[tuple[str, Split, Reason]] = Counter()
        self._kept: Counter[tuple[str, Split]] = Counter()

    def records(self) -> Iterator[tuple[Split, Document | Pair]]:
        """Yield every record that is kept, with its split; ids follow the cleaned text."""
        seen_texts: dict[str, Split] = {}
        seen_sources: dict[str, Split] = {}
        for split in SPLITS_HELD_OUT_FIRST:
            for document in read_records(self._folder, Document, split):
                text = normalize(document.text, unicode_form=self._params.unicode_form)
                clean = document._replace(id=content_id(text), text=text)
                reason = judge_document(text, self._params)
                reason = reason or _repeats(clean.id, seen_texts, split)
                if self._counts("documents", document.id, text, split, reason):
                    yield split, clean
            for pair in read_records(self._folder, Pair, split):
                source = normalize(pair.source, unicode_form=self._params.unicode_form)
                target = normalize(pair.target, unicode_form=self._params.unicode_form)
                new_id = content_id(pair.task, source, target)
                clean = pair._replace(id=new_id, source=source, target=target)
                reason = judge_pair(source, target, self._params)
                reason = reason or _repeats(content_id(pair.task, source), seen_sources, split)
                if self._counts("pairs", pair.id, source, split, reason):
                    yield split, clean

    def report(self) -> Report:
        """Counts by kind and split: read, kept, and dropped by reason."""
        report: Report = {}
        kinds: dict[str, type[Document] | type[Pair]] = {"documents": Document, "pairs": Pair}
        for name, kind in kinds.items():
            report[name] = {}
            for split in SPLITS_HELD_OUT_FIRST[::-1]:
                reasons = {
                    r: n for (k, s, r), n in self._dropped.items() if (k, s) == (name, split)
                }
                report[name][split] = {
                    "read": count_records(self._folder, kind, split),
                    "kept": self._kept[name, split],
                    "dropped": dict(sorted(reasons.items())),
                }
        return report

    def _counts(self, kind: str, id: str, text: str, split: Split, reason: Reason | None) -> bool:
        self._progress.advance()
        if reason is None:
            self._kept[kind, split] += 1
            return True
        self._dropped[kind, split, reason] += 1
        self._on_drop(Dropped(id, split, kind, reason, text[:80]))
        return False


def _repeats(key: str, seen: dict[str, Split], split: Split) -> Reason | None:
    first = seen.get(key)
    if first is None:
        seen[key] = split
        return None
    return "duplicate" if first == split else "duplicate_of_held_out"

"""Rows to records: what each task takes from a row, and what decides its split.

The text that decides is the one that must not stand on two sides: the document, the source of a
pair, the paragraph that questions are about, the dialogue that turns are from.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from wordmill.data.dialogue import turns_of
from wordmill.data.paths import Column, Row, checked_text
from wordmill.data.quarantine import BadRow, UnusableRowError, bad_row
from wordmill.data.records import Document, Pair, document, pair
from wordmill.data.streams import too_long
from wordmill.languages import english_name
from wordmill.params.columns import (
    AnswerColumns,
    ClassifyColumns,
    Columns,
    DialogueColumns,
    SummarizeColumns,
    TranslateColumns,
    WriteColumns,
)
from wordmill.tasks import PairTask

Keyed = tuple[str, Document | Pair]
"""The text that decides a record's split, and the record."""
Result = list[Keyed] | BadRow
"""What a row gives."""


class About(NamedTuple):
    """What all records of a source have in common."""

    origin: str
    language: str
    weight: float


class _Given(NamedTuple):
    """A record before its origin is known: a document if `task` is None."""

    key: str
    task: PairTask | None
    source: str
    ask: str = ""
    target: str = ""


class RowMapping:
    """How the rows of one source become records.

    Args:
        columns: which column is what.
        about: what all its records have in common.
        max_row_bytes: a longer text is a bad row.
    """

    def __init__(self, columns: Columns, *, about: About, max_row_bytes: int) -> None:
        self._max_bytes = max_row_bytes
        self._known: dict[str, Any] = about._asdict()
        if isinstance(columns, TranslateColumns) and columns.source_language:
            self._known["source_language"] = columns.source_language
        self.wanted, self._make = _made_by(columns)

    def results(self, rows: Iterable[tuple[int, Any]], *, file: str) -> Iterator[Result]:
        """Yield what each row gives.

        Args:
            rows: numbered; an UnusableRowError stands for a row that can't be read.
            file: where they are from.
        """
        for number, row in rows:
            try:
                yield [self._record(given, file, number) for given in self._givens(row)]
            except UnusableRowError as error:
                content = error.content or (row if isinstance(row, dict) else "")
                yield bad_row(file, number, error.reason, error.detail, content)

    def _givens(self, row: Any) -> list[_Given]:
        if isinstance(row, UnusableRowError):
            raise row
        if not isinstance(row, dict):
            raise UnusableRowError("not_object", f"must be a JSON object; got {row!r:.40}")
        return self._make(row)

    def _record(self, given: _Given, file: str, row: int) -> Keyed:
        known: dict[str, Any] = {**self._known, "file": file, "row": row}
        for text in (given.source, given.target):
            if len(text) * 4 > self._max_bytes and len(text.encode()) > self._max_bytes:
                raise too_long(self._max_bytes, text)
        if given.task is None:
            return given.key, document(given.source, **known)
        made = pair(given.source, given.target, task=given.task, ask=given.ask, **known)
        return given.key, made


_Maker = Callable[[Row], list[_Given]]


def _made_by(columns: Columns) -> tuple[list[Column], _Maker]:
    match columns:
        case WriteColumns():
            return _write(columns)
        case SummarizeColumns():
            return _summarize(columns)
        case TranslateColumns():
            return _translate(columns)
        case AnswerColumns():
            return _answer(columns)
        case DialogueColumns():
            return _dialogue(columns)
        case ClassifyColumns():
            return _classify(columns)


def _write(columns: WriteColumns) -> tuple[list[Column], _Maker]:
    column = Column(columns.text)

    def make(row: Row) -> list[_Given]:
        text = column.text(row)
        return [_Given(text, None, text)]

    return [column], make


def _summarize(columns: SummarizeColumns) -> tuple[list[Column], _Maker]:
    source, target = Column(columns.source), Column(columns.target)

    def make(row: Row) -> list[_Given]:
        text = source.text(row)
        return [_Given(text, "summarize", text, "", target.text(row))]

    return [source, target], make


def _translate(columns: TranslateColumns) -> tuple[list[Column], _Maker]:
    source, target = Column(columns.source), Column(columns.target)
    into = columns.target_language
    ask = english_name(into) if into else ""

    def make(row: Row) -> list[_Given]:
        text = source.text(row)
        return [_Given(text, "translate", text, ask, target.text(row))]

    return [source, target], make


def _answer(columns: AnswerColumns) -> tuple[list[Column], _Maker]:
    question, answer = Column(columns.question), Column(columns.answer)
    context = None if columns.context is None else Column(columns.context)

    def make(row: Row) -> list[_Given]:
        asked, target = question.text(row), answer.text(row)
        if context is None:
            return [_Given(asked, "answer", asked, "", target)]
        text = context.text(row)
        return [_Given(text, "answer", text, asked, target)]

    return [question, answer, *([context] if context else [])], make


def _dialogue(columns: DialogueColumns) -> tuple[list[Column], _Maker]:
    column = Column(columns.turns)
    speaker, text = Column(columns.speaker), Column(columns.text)
    before = columns.max_turns_before

    def make(row: Row) -> list[_Given]:
        value = column.value(row)
        turns = turns_of(value, name=str(column), speaker=speaker, text=text)
        if len(turns) < 2:
            raise UnusableRowError("too_few_turns", f"column '{column}' holds {len(turns)} turn(s)")
        lines = [str(turn) for turn in turns]
        key = value if isinstance(value, str) else "\n".join(lines)
        return [
            _Given(
                key, "dialogue", "\n".join(lines[max(0, n - before) : n]), turn.speaker, turn.text
            )
            for n, turn in enumerate(turns)
            if n > 0
        ]

    return [column], make


def _classify(columns: ClassifyColumns) -> tuple[list[Column], _Maker]:
    column, label = Column(columns.text), Column(columns.label)
    words = columns.labels
    ask = ", ".join(dict.fromkeys(words.values())) if words else ""

    def make(row: Row) -> list[_Given]:
        text, value = column.text(row), label.value(row)
        if words is None:
            target = checked_text(value, str(label))
        elif (known := words.get(str(value))) is None:
            allowed = ", ".join(words)
            raise UnusableRowError(
                "unknown_label", f"column '{label}' must be one of: {allowed}; got {value!r:.40}"
            )
        else:
            target = known
        return [_Given(text, "classify", text, ask, target)]

    return [column, label], make

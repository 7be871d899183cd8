"""What the rows of a source mean: which column is what, for each task.

Part of `ingest`, with defaults for the reason that wordmill/params/ingest.py gives.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from wordmill.params.language import Language
from wordmill.params.section import Section


def _column(path: Any) -> Any:
    paths = path if isinstance(path, list) else [path]
    if not paths or not all(isinstance(part, str) and part for part in paths):
        raise ValueError(f"must be a column such as text or answers[0].text; got {path!r}")
    return path


Column = Annotated[str | list[str], BeforeValidator(_column)]
"""Where a value stands in its row; several are joined by line ends."""


class WriteColumns(Section):
    """Rows that are text to learn language from."""

    task: Literal["write"] = "write"
    text: Column = "text"


class SummarizeColumns(Section):
    """Rows that are a text and its summary."""

    task: Literal["summarize"]
    source: Column
    target: Column


class TranslateColumns(Section):
    """Rows that are a text in two languages."""

    task: Literal["translate"]
    source: Column
    target: Column
    source_language: Language | None = None
    target_language: Language | None = None
    """Where it is given, the prompt asks for this language by name."""


class AnswerColumns(Section):
    """Rows that are a question and its answer, with or without the text that holds it."""

    task: Literal["answer"]
    question: Column
    answer: Column
    context: Column | None = None


class DialogueColumns(Section):
    """Rows that are a dialogue; each turn but the first is a target."""

    task: Literal["dialogue"]
    turns: Column
    """A list of texts, a list of objects, or one text with a turn a line (`Ann: Hello`)."""
    speaker: Column = "speaker"
    """Where the turns are objects: who speaks."""
    text: Column = "text"
    """Where the turns are objects: what is said."""
    max_turns_before: Annotated[int, Field(gt=0)] = 50
    """Turns that a reply sees at most; without an end, long dialogues grow with their square."""


class ClassifyColumns(Section):
    """Rows that are a text and its label."""

    task: Literal["classify"]
    text: Column
    label: Column
    labels: dict[str, str] | None = None
    """The words for each label; where given, the prompt names them and others are bad rows."""


Columns = Annotated[
    WriteColumns
    | SummarizeColumns
    | TranslateColumns
    | AnswerColumns
    | DialogueColumns
    | ClassifyColumns,
    Field(discriminator="task"),
]

"""`ingest`: where text comes from and how it is split."""

from pathlib import PurePath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from wordmill.params.section import Section
from wordmill.tasks import PairTask


def _inside_root(path: str) -> str:
    if PurePath(path).is_absolute() or ".." in PurePath(path).parts:
        raise ValueError(
            f"got '{path}'; must lie under ingest.root, the folder that DVC watches for changes"
        )
    return path


PathInRoot = Annotated[str, Field(min_length=1), AfterValidator(_inside_root)]
Fraction = Annotated[float, Field(gt=0, lt=0.5)]


class DocumentColumns(Section):
    """Rows that are text to learn language from."""

    task: Literal["write"]
    text: str
    """The column that holds the text."""


class PairColumns(Section):
    """Rows that are a source and the target to make from it."""

    task: PairTask
    source: str
    """The column that holds what is given."""
    target: str
    """The column that holds what is wanted."""


Columns = Annotated[DocumentColumns | PairColumns, Field(discriminator="task")]


class PythonDocsSource(Section):
    """The language reference and the docstrings of the running interpreter."""

    kind: Literal["python-docs"]


class TextSource(Section):
    """Plain text files; each unit is a document."""

    kind: Literal["text"]
    path: PathInRoot
    """A file or a glob, relative to ingest.root."""
    encoding: str
    unit: Literal["file", "paragraph", "line"]
    """What one document is; a paragraph ends at a blank line."""


class JsonlSource(Section):
    """JSON lines: one object a line, UTF-8."""

    kind: Literal["jsonl"]
    path: PathInRoot
    columns: Columns


class CsvSource(Section):
    """Comma-separated values with a header line."""

    kind: Literal["csv"]
    path: PathInRoot
    encoding: str
    delimiter: Annotated[str, Field(min_length=1, max_length=1)]
    columns: Columns


class ParquetSource(Section):
    """Parquet files."""

    kind: Literal["parquet"]
    path: PathInRoot
    columns: Columns


class HuggingFaceSource(Section):
    """A data set of the Hugging Face hub, or a local folder in the hub's layout."""

    kind: Literal["huggingface"]
    name: str
    config: str | None
    revision: str | None
    """A commit or tag; null takes the newest."""
    split: str
    """The hub's split to read; wordmill splits by content hash afterwards."""
    columns: Columns


FileSource = TextSource | JsonlSource | CsvSource | ParquetSource
Source = Annotated[
    PythonDocsSource | FileSource | HuggingFaceSource,
    Field(discriminator="kind"),
]


class IngestParams(Section):
    """The `ingest` section."""

    root: str
    """The folder of local sources; DVC watches all of it."""
    sources: Annotated[list[Source], Field(min_length=1)]
    validation_fraction: Fraction
    """Share of documents, by content hash, held out while training; above 0, below 0.5."""
    test_fraction: Fraction
    """Share of documents, by content hash, held out for evaluation; above 0, below 0.5."""

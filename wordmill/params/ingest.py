"""`ingest`: where text comes from, what its rows mean and how it is split.

A section has no defaults, because DVC can't see them; an entry of `sources` has, so that one
stays a few lines long. That is safe here alone: this file is a dependency of the ingest stage,
so a default that changes reads everything again.
"""

import re
from pathlib import PurePath
from typing import Annotated, Literal, NamedTuple
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, model_validator

from wordmill.params.columns import Columns, WriteColumns
from wordmill.params.language import Language
from wordmill.params.section import Section

Format = Literal["text", "markdown", "html", "jsonl", "json", "csv", "tsv", "parquet", "arrow"]
TEXT_FORMATS: tuple[Format, ...] = ("text", "markdown", "html")


def _inside_root(path: str) -> str:
    urlsplit(path)  # says so itself if an address is none
    is_outside = PurePath(path).is_absolute() or ".." in PurePath(path).parts
    if "://" not in path and is_outside:
        raise ValueError(
            f"got '{path}'; must lie under ingest.root, the folder that DVC watches for changes,"
            " or be an address such as s3://bucket/x.jsonl"
        )
    return path


def _encoding(name: str) -> str:
    try:
        if name != "auto":
            b"ab".decode(name, "ignore")
    except LookupError:
        raise ValueError(
            f"unknown encoding '{name}'; auto, or such as: utf-8, utf-16, latin-1, gb18030"
        ) from None
    return name


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    if parts.password or "password" in parse_qs(parts.query):
        raise ValueError(
            "holds a password, and params.yaml is kept in git; take it out and put it where the"
            " driver looks: ~/.pgpass or PGPASSWORD for PostgreSQL"
        )
    return url


class Fold(NamedTuple):
    """A part of cross-validation: which of how many equal shares is the test set."""

    number: int
    """From 1 on."""
    of: int

    def __str__(self) -> str:
        return f"{self.number} of {self.of}"


def _fold(value: object) -> Fold:
    if isinstance(value, Fold):
        return value
    match = re.fullmatch(r"(\d{1,4}) of (\d{1,4})", value) if isinstance(value, str) else None
    found = Fold(int(match[1]), int(match[2])) if match else None
    if found is None or found.of < 2 or not 1 <= found.number <= found.of:
        raise ValueError(f"got {value!r}; allowed: null, or a fold of two or more, as in '1 of 5'")
    return found


SourcePath = Annotated[str, Field(min_length=1), AfterValidator(_inside_root)]
Fraction = Annotated[float, Field(gt=0, lt=0.5)]
Encoding = Annotated[str, AfterValidator(_encoding)]
Share = Annotated[float, Field(ge=0, le=1)]


class Entry(Section):
    """What every source can say of itself."""

    weight: Annotated[float, Field(gt=0, le=100)] = 1.0
    """How often its records are trained on, beside others at 1."""
    split: Literal["train", "validation", "test"] | None = None
    """Where all its records go; null goes by content hash."""


class PythonDocsSource(Entry):
    """The language reference and the docstrings of the running interpreter."""

    kind: Literal["python-docs"]


class FilesSource(Entry):
    """Files of text or of rows: one, a folder of them, or a glob."""

    kind: Literal["files"]
    path: SourcePath
    """Under ingest.root, or an address with `://`."""
    format: Format | None = None
    """Null goes by the ending of each file."""
    encoding: Encoding = "auto"
    unit: Literal["file", "paragraph", "line"] = "file"
    """What one document of a text file is; a paragraph ends at a blank line."""
    part: Annotated[list[Share], Field(min_length=2, max_length=2)] | None = None
    """Where each text file is read from and to, as shares of its characters; null is all of it."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """Between fields; null is a comma for csv and a tab for tsv."""
    rows: str | None = None
    """In JSON, the path to the rows, such as `data[].paragraphs[]`."""
    columns: Columns = WriteColumns()
    language: Language | None = None

    @model_validator(mode="after")
    def _has_a_part(self) -> "FilesSource":
        if self.part is None:
            return self
        if self.part[0] >= self.part[1]:
            raise ValueError(f"part {self.part}: must go up, as in [0.0, 0.9]")
        if self.unit != "file":
            raise ValueError(f"part needs unit 'file', which it cuts; got unit '{self.unit}'")
        if self.format is not None and self.format not in TEXT_FORMATS:
            raise ValueError(
                f"part needs text, which it cuts; got format '{self.format}'; allowed:"
                f" {', '.join(TEXT_FORMATS)}"
            )
        return self


class ParallelSource(Entry):
    """Two text files whose lines are translations of each other."""

    kind: Literal["parallel"]
    source: SourcePath
    target: SourcePath
    source_language: Language
    target_language: Language
    encoding: Encoding = "auto"


class SqlSource(Entry):
    """The rows that a database answers a query with."""

    kind: Literal["sql"]
    url: Annotated[str, AfterValidator(_without_password)]
    """Of SQLAlchemy's kind, such as postgresql://reader@host/news, without a password."""
    query: str
    version_query: str | None = None
    """Gives one value that changes when the rows do, such as `select max(id) from news`."""
    columns: Columns = WriteColumns()
    language: Language | None = None


class HuggingFaceSource(Entry):
    """A data set of the Hugging Face hub, or a local folder in the hub's layout."""

    kind: Literal["huggingface"]
    name: str
    config: str | None = None
    revision: str | None = None
    """A commit or tag; null takes the newest."""
    hub_split: str = "train"
    """The hub's split to read."""
    columns: Columns = WriteColumns()
    language: Language | None = None


Source = Annotated[
    PythonDocsSource | FilesSource | ParallelSource | SqlSource | HuggingFaceSource,
    Field(discriminator="kind"),
]


class IngestParams(Section):
    """The `ingest` section."""

    root: str
    """The folder of local sources; DVC watches all of it."""
    max_bad_fraction: Annotated[float, Field(ge=0, le=1)]
    """Share of a source's rows that may be set aside; at 0 the first bad row stops the run."""
    max_row_bytes: Annotated[int, Field(gt=0)]
    """A row longer than this is a bad row, and is never held in memory whole."""
    sources: Annotated[list[Source], Field(min_length=1)]
    validation_fraction: Fraction
    """Share of documents, by content hash, held out while training; above 0, below 0.5."""
    test_fraction: Fraction
    """Share of documents, by content hash, held out for evaluation; above 0, below 0.5."""
    fold: Annotated[Fold, BeforeValidator(_fold), PlainSerializer(str)] | None
    """Which fold of cross-validation is held out for evaluation, instead of `test_fraction`."""

    @model_validator(mode="after")
    def _folds_are_by_hash(self) -> "IngestParams":
        fixed = [i for i, source in enumerate(self.sources) if source.split == "test"]
        if self.fold is not None and fixed:
            raise ValueError(
                f"fold {self.fold}: sources[{fixed[0]}] goes to the test set as a whole (split:"
                " test), so it would be in that of every fold; take its split away"
            )
        return self

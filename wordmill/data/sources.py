"""Every kind of source behind one door: its name, its parts, and its state outside of DVC."""

import hashlib
from pathlib import Path
from typing import assert_never

from wordmill.data import files, hub, parallel, python_docs, sql
from wordmill.data.addresses import shown
from wordmill.data.parts import Part
from wordmill.data.rows import About
from wordmill.errors import WordmillError
from wordmill.params.columns import TranslateColumns
from wordmill.params.ingest import (
    FilesSource,
    HuggingFaceSource,
    IngestParams,
    ParallelSource,
    PythonDocsSource,
    Source,
    SqlSource,
)


def source_name(source: Source) -> str:
    """What a source is called in messages, records and reports."""
    match source:
        case PythonDocsSource():
            return python_docs.SOURCE
        case FilesSource():
            return _shown_path(source.path)
        case ParallelSource():
            return f"{_shown_path(source.source)} + {_shown_path(source.target)}"
        case SqlSource():
            return sql.shown_url(source.url)
        case HuggingFaceSource():
            return f"{source.name} ({source.hub_split})"
        case _:
            assert_never(source)


def outside_fingerprints(params: IngestParams) -> dict[str, str]:
    """The state of sources that live where DVC can't see them; a change asks for a new ingest.

    What can't be told now (no ETag, no version query, a server that is away) is left out.
    """
    told: dict[str, str] = {}
    for source in params.sources:
        try:
            if may_be_outside(source):
                parts = [part for part in parts_of(source, params) if part.is_outside]
                told |= fingerprint(source, [part.identity() for part in parts])
        except WordmillError:
            continue
    return told


def fingerprint(source: Source, identities: list[str]) -> dict[str, str]:
    """The state of a source by its name; nothing if part of it can't be told.

    Args:
        source: whose it is.
        identities: of those of its parts that DVC can't see.
    """
    if not identities or not all(identities):
        return {}
    if len(identities) == 1:
        return {source_name(source): identities[0]}
    together = hashlib.blake2b("\x1f".join(identities).encode(), digest_size=8).hexdigest()
    return {source_name(source): f"{len(identities)} files {together}"}


def may_be_outside(source: Source) -> bool:
    """Whether parts of a source may live where DVC can't see them."""
    match source:
        case FilesSource():
            return "://" in source.path
        case ParallelSource():
            return "://" in source.source + source.target
        case _:
            return True


def parts_of(source: Source, params: IngestParams) -> list[Part]:
    """What a source consists of.

    Raises:
        DataError: nothing, or there is no way to it.
        TryAgainError: its server does not answer.
    """
    root, max_row_bytes = Path(params.root), params.max_row_bytes
    about = About(source_name(source), _language(source), source.weight)
    match source:
        case PythonDocsSource():
            return python_docs.parts(about)
        case FilesSource():
            return files.parts(source, root=root, about=about, max_row_bytes=max_row_bytes)
        case ParallelSource():
            return parallel.parts(source, root=root, about=about, max_row_bytes=max_row_bytes)
        case SqlSource():
            return sql.parts(source, about=about, max_row_bytes=max_row_bytes)
        case HuggingFaceSource():
            return hub.parts(source, about=about, max_row_bytes=max_row_bytes)
        case _:
            assert_never(source)


def _language(source: Source) -> str:
    match source:
        case PythonDocsSource():
            return python_docs.LANGUAGE
        case ParallelSource():
            return source.target_language
        case _:
            columns = source.columns
            told = columns.target_language if isinstance(columns, TranslateColumns) else None
            return told or source.language or ""


def _shown_path(path: str) -> str:
    return shown(path) if "://" in path else path

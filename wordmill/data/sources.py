"""Every source behind one door: records with their split, and a record of each source."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wordmill.data import files, hub, python_docs
from wordmill.data.records import Document, Pair, Split, split_of
from wordmill.errors import DataError
from wordmill.params.ingest import HuggingFaceSource, IngestParams, PythonDocsSource, Source
from wordmill.progress import Progress


def source_name(source: Source) -> str:
    """What a source is called in messages and reports."""
    match source:
        case PythonDocsSource():
            return python_docs.SOURCE
        case HuggingFaceSource():
            return f"{source.kind} {source.name}"
        case _:
            return f"{source.kind} {source.path}"


def outside_fingerprints(params: IngestParams) -> dict[str, str]:
    """The state of sources that live where DVC can't see them; a change asks for a new ingest."""
    found = {python_docs.SOURCE: python_docs.fingerprint()}
    return found if any(isinstance(s, PythonDocsSource) for s in params.sources) else {}


class Ingestion:
    """One pass over all sources, and what was seen on it."""

    def __init__(self, params: IngestParams, *, progress: Progress) -> None:
        self._params = params
        self._progress = progress
        self._counts: list[Counter[str]] = []

    def records(self) -> Iterator[tuple[Split, Document | Pair]]:
        """Yield every record of every source with its split.

        Raises:
            DataError: a source is empty, missing or has a row that can't be used.
        """
        for source in self._params.sources:
            counts: Counter[str] = Counter()
            for text, record in self._read(source):
                split = split_of(
                    text,
                    validation_fraction=self._params.validation_fraction,
                    test_fraction=self._params.test_fraction,
                )
                counts["documents" if isinstance(record, Document) else "pairs"] += 1
                self._progress.advance()
                yield split, record
            if not counts:
                raise DataError(f"{source_name(source)}: the source is empty; it gave no rows")
            self._counts.append(counts)

    def report(self) -> dict[str, Any]:
        """What each source gave, and the fingerprints of those that DVC can't see."""
        given = zip(self._params.sources, self._counts, strict=True)
        return {
            "sources": [{"name": source_name(source), **counts} for source, counts in given],
            "outside": outside_fingerprints(self._params),
        }

    def _read(self, source: Source) -> Iterator[tuple[str, Document | Pair]]:
        match source:
            case PythonDocsSource():
                return python_docs.read()
            case HuggingFaceSource():
                return hub.read(source)
            case _:
                return files.read(source, Path(self._params.root))

"""Two files whose lines are translations of each other."""

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from wordmill.data.addresses import File, errors_named, find_files
from wordmill.data.encodings import NotTextError
from wordmill.data.parts import Part, opened_members, part_of
from wordmill.data.rows import About, Result, RowMapping
from wordmill.data.streams import Line, decoded_lines
from wordmill.errors import DataError
from wordmill.params.columns import TranslateColumns
from wordmill.params.ingest import ParallelSource


def parts(source: ParallelSource, *, root: Path, about: About, max_row_bytes: int) -> list[Part]:
    """The one part that two files make.

    Args:
        source: names them.
        root: where local paths start.
        about: what all records have in common.
        max_row_bytes: a longer line is a bad row.

    Raises:
        DataError: one is not there.
        TryAgainError: its server does not answer.
    """
    columns = TranslateColumns(
        task="translate",
        source="source",
        target="target",
        source_language=source.source_language,
        target_language=source.target_language,
    )
    mapping = RowMapping(columns, about=about, max_row_bytes=max_row_bytes)
    files = [_only(path, root) for path in (source.source, source.target)]
    name = " + ".join(file.name for file in files)

    def results() -> Iterator[Result]:
        streams = [_lines(file, source.encoding, max_row_bytes) for file in files]
        yield from mapping.results(_rows(*streams, files=files), file=name)

    return [part_of(files, results=results)]


def _only(path: str, root: Path) -> File:
    found = find_files(path, root)
    if len(found) != 1:
        raise DataError(f"{path}: must be one file; it names {len(found)}")
    return found[0]


def _lines(file: File, encoding: str, max_bytes: int) -> Iterator[Line]:
    with errors_named(file.name):
        for name, stream in opened_members(file):
            try:
                yield from decoded_lines(stream, encoding, max_bytes=max_bytes)
            except NotTextError as error:
                raise DataError(f"{name}: not text: {error}") from None


def _rows(
    sources: Iterator[Line], targets: Iterator[Line], *, files: list[File]
) -> Iterator[tuple[int, object]]:
    number = 0
    for source, target in zip_longest(sources, targets):
        if source is None or target is None:
            rest = 1 + sum(1 for _ in (targets if source is None else sources))
            lines = [number, number + rest] if source is None else [number + rest, number]
            raise DataError(
                f"{files[0].name} has {lines[0]:,} lines and {files[1].name} has {lines[1]:,};"
                " each line must be the translation of the same line of the other"
            )
        number = source.number
        texts = {"source": source.text.rstrip("\r\n"), "target": target.text.rstrip("\r\n")}
        yield number, source.problem or target.problem or texts

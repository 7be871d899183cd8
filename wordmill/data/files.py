"""Files as a source: one, a folder of them, a glob, or an address; each file is a part."""

from collections.abc import Iterator
from pathlib import Path

from wordmill.data.addresses import GLOB_SIGNS, File, errors_named, find_files
from wordmill.data.formats import ENDINGS, Reader, format_of
from wordmill.data.parts import Part, opened_members, part_of
from wordmill.data.rows import About, Result, RowMapping
from wordmill.data.streams import ZIP
from wordmill.errors import DataError
from wordmill.params.ingest import FilesSource


def parts(source: FilesSource, *, root: Path, about: About, max_row_bytes: int) -> list[Part]:
    """The files of a source, in order of their names.

    Args:
        source: names them.
        root: where local paths start.
        about: what all records have in common.
        max_row_bytes: a longer row is a bad one.

    Raises:
        DataError: there are none, or no way to them.
        TryAgainError: their server does not answer.
    """
    mapping = RowMapping(source.columns, about=about, max_row_bytes=max_row_bytes)
    reader = Reader(source, wanted=mapping.wanted, max_row_bytes=max_row_bytes)
    return [_part(file, reader, mapping) for file in _files(source, root)]


def _files(source: FilesSource, root: Path) -> list[File]:
    found = find_files(source.path, root)
    is_stated = source.format is not None or len(found) == 1
    if is_stated or any(sign in source.path for sign in GLOB_SIGNS):
        return found
    known = [file for file in found if format_of(file.name) or file.name.lower().endswith(ZIP)]
    if not known:
        endings = " ".join(f".{ending}" for ending in ENDINGS)
        raise DataError(
            f"{root / source.path}: no file in this folder has an ending that tells its format"
            f" ({endings}, or one of these and .gz .xz .zst .zip); state one, 'format'"
        )
    return known


def _part(file: File, reader: Reader, mapping: RowMapping) -> Part:
    def results() -> Iterator[Result]:
        with errors_named(file.name):
            for name, stream in opened_members(file):
                rows = reader.rows(stream, name, archive=file.name)
                yield from mapping.results(rows, file=name)

    return part_of([file], results=results)

"""Files as streams: decompressed, archives member by member, cut into lines of bounded size.

Lines are cut as bytes and decoded one by one, so that a broken line is one bad row and a line
without an end costs no more memory than a long one is allowed.
"""

import codecs
import gzip
import io
import lzma
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import PurePosixPath
from typing import Any, BinaryIO, NamedTuple, cast

import pyarrow as pa

from wordmill.data.encodings import (
    HEAD_BYTES,
    as_utf8,
    encoding_of_head,
    is_line_safe,
    settled,
)
from wordmill.data.quarantine import UnusableRowError

ZIP = ".zip"
_ENCRYPTED = 1  # a bit of a zip entry's flags
_EXCERPT_BYTES = 400


class Line(NamedTuple):
    """A line of text, and why it can't be used, if so; `text` is then an excerpt."""

    number: int
    text: str
    problem: UnusableRowError | None


class _TooLong(bytes):
    """The start of a line that is longer than allowed."""


def plain_name(name: str) -> str:
    """A file's name without the endings that say how it is compressed."""
    path = PurePosixPath(name)
    return plain_name(path.stem) if path.suffix.lower() in _COMPRESSIONS else path.name


def members(stream: BinaryIO, name: str) -> Iterator[tuple[str, BinaryIO]]:
    """Yield the name and the decompressed content of each file in a stream: one, but for a zip.

    Args:
        stream: as it lies on the disk; it is closed by whoever opened it.
        name: its endings say how it is compressed.
    """
    suffix = PurePosixPath(name).suffix.lower()
    if suffix == ZIP:
        with seekable(stream) as file, zipfile.ZipFile(file) as archive:
            for entry in archive.infolist():
                if not entry.is_dir() and not _is_hidden(entry.filename):
                    if entry.flag_bits & _ENCRYPTED:
                        raise zipfile.BadZipFile("it needs a password")
                    with archive.open(entry) as content:
                        inner = cast("BinaryIO", content)
                        yield from _inside(members(inner, entry.filename), name, entry.filename)
    elif suffix in _COMPRESSIONS:
        with _COMPRESSIONS[suffix](stream) as content:
            stem = name[: -len(suffix)]
            yield from ((name, found) for _, found in members(content, stem))
    else:
        yield name, stream


@contextmanager
def seekable(stream: BinaryIO) -> Generator[BinaryIO]:
    """Yield the stream itself if it is a file, else its content as a temporary one."""
    if isinstance(stream, io.BufferedReader) and isinstance(stream.raw, io.FileIO):
        yield stream
        return
    with tempfile.TemporaryFile() as copied:
        shutil.copyfileobj(stream, copied, HEAD_BYTES)
        copied.seek(0)
        yield cast("BinaryIO", copied)


def decoded_lines(stream: BinaryIO, encoding: str, *, max_bytes: int) -> Iterator[Line]:
    """Yield the lines of a stream, line ends included.

    Args:
        stream: decompressed.
        encoding: `auto` finds it out.
        max_bytes: a longer line is not held; its start comes with the problem.

    Raises:
        NotTextError: the encoding is to be found out, and the content is no text.
    """
    head = stream.read(HEAD_BYTES)
    found = encoding_of_head(head) if encoding == "auto" else encoding
    whole = _buffered(chain([head], iter(lambda: stream.read(HEAD_BYTES), b"")))
    wide = found if found and not is_line_safe(found) else None
    if wide:
        whole, found = _buffered(as_utf8(whole, wide)), "utf-8"
    lines = _byte_lines(whole, max_bytes)
    told = _with_encoding(lines) if found is None else ((line, found) for line in lines)
    for number, (line, line_encoding) in enumerate(told, start=1):
        if number == 1 and line.startswith(codecs.BOM_UTF8):
            line = line[len(codecs.BOM_UTF8) :]
        yield _decoded(number, line, line_encoding, wide or line_encoding, max_bytes)


def whole_text(data: bytes, encoding: str) -> str | UnusableRowError:
    """A file's text at once, or why there is none.

    Args:
        data: the file.
        encoding: `auto` finds it out.

    Raises:
        NotTextError: as `decoded_lines` does.
    """
    found = encoding_of_head(data[:HEAD_BYTES]) if encoding == "auto" else encoding
    if found is None:
        found = settled(line for line in data.splitlines(keepends=True) if not line.isascii())[0]
    try:
        return data.decode(found).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        excerpt = data[:_EXCERPT_BYTES].decode(found, "backslashreplace")
        return _not_decodable(error, excerpt, found)
    except UnicodeError as error:  # utf-16 without its mark is one that names no byte
        return UnusableRowError("not_decodable", f"not {found}: {error}")


def too_long(max_bytes: int, start: str) -> UnusableRowError:
    """What is wrong with a row of more than `max_bytes`."""
    detail = f"longer than ingest.max_row_bytes ({max_bytes:,})"
    return UnusableRowError("row_too_long", detail, start[:_EXCERPT_BYTES])


def _not_decodable(error: UnicodeDecodeError, text: str, encoding: str) -> UnusableRowError:
    detail = (
        f"not {encoding}: {error.reason} 0x{error.object[error.start]:02x}; say how the"
        " file is encoded under ingest.sources, or convert it"
    )
    return UnusableRowError("not_decodable", detail, text)


def _decoded(number: int, line: bytes, encoding: str, shown: str, max_bytes: int) -> Line:
    if isinstance(line, _TooLong):
        text = line.decode(encoding, "backslashreplace")
        return Line(number, text, too_long(max_bytes, text))
    try:
        return Line(number, line.decode(encoding), None)
    except UnicodeDecodeError as error:
        text = line.decode(encoding, "backslashreplace")
        return Line(number, text, _not_decodable(error, text, shown))


def _byte_lines(stream: BinaryIO, max_bytes: int) -> Iterator[bytes]:
    while line := stream.readline(max_bytes + 1):
        if len(line) <= max_bytes or line.endswith(b"\n"):
            yield line
            continue
        start = line[:_EXCERPT_BYTES]
        while line and not line.endswith(b"\n"):
            line = stream.readline(HEAD_BYTES)
        yield _TooLong(start + b"\n")


def _with_encoding(lines: Iterator[bytes]) -> Iterator[tuple[bytes, str]]:
    for line in lines:
        if not line.isascii():
            encoding, again = settled(chain([line], lines))
            yield from ((line, encoding) for line in again)
            return
        yield line, "utf-8"


class _Chunks(io.RawIOBase):
    """Chunks of bytes as a stream that can be buffered."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._left = chunks, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._left = memoryview(chunk)
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size


def _buffered(chunks: Iterator[bytes]) -> BinaryIO:
    return io.BufferedReader(_Chunks(chunks), HEAD_BYTES)


def _zstd(stream: BinaryIO) -> BinaryIO:
    return cast("BinaryIO", pa.CompressedInputStream(stream, "zstd"))


_COMPRESSIONS: dict[str, Callable[[BinaryIO], Any]] = {
    ".gz": lambda stream: gzip.GzipFile(fileobj=stream),
    ".xz": lzma.LZMAFile,
    ".zst": _zstd,
    ZIP: zipfile.ZipFile,
}


def _is_hidden(path: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(path).parts)


def _inside(
    found: Iterator[tuple[str, BinaryIO]], archive: str, entry: str
) -> Iterator[tuple[str, BinaryIO]]:
    yield from ((f"{archive}/{entry}", content) for _, content in found)

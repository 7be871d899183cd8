"""Bytes to text: which encoding a file is in, where nobody says.

A mark at the start decides, then zero bytes (UTF-16 and UTF-32), then whether the lines are
UTF-8 but for a few broken ones; only then does charset-normalizer guess from a sample. Lines
that are ASCII alone say nothing, so the first one that is not is where the sample starts.
"""

import codecs
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import BinaryIO

HEAD_BYTES = 1 << 16
_SAMPLE_BYTES = 1 << 16
_GUESS_BYTES = 1 << 14
# Broken lines among those that are not ASCII, up to which a file still is UTF-8.
_MAX_BROKEN_FRACTION = 0.2
_MAX_ZERO_FRACTION = 0.001
_MAX_ODD_FRACTION = 0.01
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark is the start of this one
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WIDE = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
# What charset-normalizer chooses from: with every encoding it knows, short samples go astray.
_OF_SEVERAL_BYTES = ("gb18030", "big5hkscs", "cp932", "euc_jp", "cp949")
_OF_ONE_BYTE = ("cp1252", "cp1250", "cp1251", "koi8_r", "cp1253", "cp1254", "cp1255", "cp1256")
_META_CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([\w-]+)", re.IGNORECASE)


class NotTextError(Exception):
    """The bytes are of something else."""


def encoding_of_head(head: bytes) -> str | None:
    """The encoding that the first bytes of a file tell; None if they leave it open.

    Raises:
        NotTextError: they hold zero bytes, and are neither UTF-16 nor UTF-32.
    """
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    if b"\0" not in head:
        return None
    if found := next((wide for wide in _WIDE if _reads_as(head, wide)), None):
        return found
    if head.count(0) > len(head) * _MAX_ZERO_FRACTION:
        raise NotTextError("it holds zero bytes")
    return None


def encoding_of_html(page: bytes) -> str | None:
    """The encoding that a page names itself, if Python knows it."""
    if not (match := _META_CHARSET.search(page[:2048])):
        return None
    name = match[1].decode()
    try:
        b"ab".decode(name, "ignore")
    except (LookupError, UnicodeError):
        return None
    return "gb18030" if name.lower() in ("gb2312", "gbk") else name  # pages hold more than they say


def settled(lines: Iterable[bytes]) -> tuple[str, Iterator[bytes]]:
    """The encoding of lines, the first of them not ASCII, and the lines again."""
    remaining = iter(lines)
    sample: list[bytes] = []
    num_bytes = 0
    for line in remaining:
        sample.append(line)
        num_bytes += len(line)
        if num_bytes > _SAMPLE_BYTES:
            break
    return _guess(sample), chain(sample, remaining)


def is_line_safe(encoding: str) -> bool:
    """Whether text in this encoding can be cut into lines before it is decoded."""
    try:
        return b'\n"a'.decode(encoding) == '\n"a'
    except UnicodeError:
        return False


def as_utf8(stream: BinaryIO, encoding: str) -> Iterator[bytes]:
    """Yield a stream's content as UTF-8; what is broken becomes bytes that UTF-8 can't have."""
    decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
    is_end = False
    while not is_end:
        chunk = stream.read(HEAD_BYTES)
        is_end = not chunk
        try:
            yield decoder.decode(chunk, final=is_end).encode("utf-8", "surrogatepass")
        except UnicodeError:
            yield b"\xff"
            decoder.reset()


def _guess(sample: list[bytes]) -> str:
    telling = [line for line in sample if not line.isascii()]
    if len(_sound(telling, "utf-8")) >= len(telling) * (1 - _MAX_BROKEN_FRACTION):
        return "utf-8"
    for encoding in _OF_SEVERAL_BYTES:
        # One broken line would rule these out, and leave one that can read anything.
        sound = _sound(telling, encoding)
        is_damaged = len(telling) * (1 - _MAX_BROKEN_FRACTION) <= len(sound) < len(telling)
        if is_damaged and _likeliest(sound) == encoding:
            return encoding
    return _likeliest(telling) or "utf-8"


def _likeliest(lines: list[bytes]) -> str | None:
    from charset_normalizer import from_bytes  # most files never need it

    text = b"".join(lines)[:_GUESS_BYTES]
    text = text[: text.rfind(b"\n") + 1] or text  # no half character at the end
    matches = from_bytes(text, cp_isolation=[*_OF_SEVERAL_BYTES, *_OF_ONE_BYTE])
    best = matches.best()
    if best is None:
        return None
    # Western text is mostly sound Central European too: of two as likely take the common one.
    as_likely = (m for m in matches if (m.chaos, -m.coherence) <= (best.chaos, -best.coherence))
    is_same = _decodes(text, "cp1252") and text.decode("cp1252") == str(best)
    return "cp1252" if is_same or "cp1252" in {m.encoding for m in as_likely} else best.encoding


def _sound(lines: list[bytes], encoding: str) -> list[bytes]:
    return [line for line in lines if _decodes(line, encoding)]


def _decodes(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _reads_as(head: bytes, encoding: str) -> bool:
    width = 4 if "32" in encoding else 2
    try:
        text = head[: len(head) // width * width].decode(encoding)
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # else half a character, cut off by us
            return False
        text = head[: error.start].decode(encoding)
    num_odd = sum(not (char.isprintable() or char in "\n\r\t\f") for char in text)
    return bool(text) and num_odd <= len(text) * _MAX_ODD_FRACTION

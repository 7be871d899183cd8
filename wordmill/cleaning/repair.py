"""Text as it was meant: mojibake undone, one Unicode form, one line end, nothing invisible."""

import re
import unicodedata
from typing import Literal

import ftfy
from ftfy.badness import is_bad

from wordmill.cleaning.characters import INVISIBLE

_LINE_END = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_TRAILING_SPACE = re.compile(r"[^\S\n]+$", re.MULTILINE)
_BLANK_LINES = re.compile(r"\n{3,}")
# Controls but for tab and newline, and marks that nobody sees.
_UNSEEN = re.compile(rf"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f{INVISIBLE}]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_REPLACEMENT = "\ufffd"  # what a decoder puts where bytes made no sense


def undo_mojibake(text: str) -> str:
    """Repair text that was decoded with the wrong encoding: `schÃ¶n` -> `schön`."""
    if text.isascii() or not is_bad(text):
        return text
    return ftfy.fix_encoding(text)


def normalize(text: str, *, unicode_form: Literal["NFC", "NFKC"]) -> str:
    """Unify line ends, Unicode form and blank space, and take out what is invisible."""
    if "\r" in text or not text.isprintable():  # line ends and spaces but " " are not printable
        text = _LINE_END.sub("\n", text)
        text = _UNSEEN.sub("", text)
        text = _SURROGATE.sub("", text)
    if not text.isascii():
        text = unicodedata.normalize(unicode_form, text.replace(_REPLACEMENT, ""))
    text = _TRAILING_SPACE.sub("", text)
    return _BLANK_LINES.sub("\n\n", text).strip("\n")

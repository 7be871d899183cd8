"""Text as it was meant: mojibake undone, one Unicode form, one line end, nothing invisible."""

import re
import unicodedata
from typing import Literal

import ftfy
from ftfy.badness import is_bad

from wordmill.cleaning.character_table import INVISIBLE

_LINE_END = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_BLANK_LINES = re.compile(r"\n{3,}")
# Controls but for tab and newline, and marks that nobody sees.
_UNSEEN = re.compile(rf"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f{INVISIBLE}]")
_ODD_BYTES = bytes([*range(9), *range(0x0B, 0x20), 0x7F])
_ODD_SPACE = re.compile(r"[^\S\n ]\n")
_SURROGATE = re.compile("[\ud800-\udfff]")
_REPLACEMENT = "\ufffd"  # what a decoder puts where bytes made no sense


def undo_mojibake(text: str) -> str:
    """Repair text that was decoded with the wrong encoding: `schÃ¶n` -> `schön`."""
    if text.isascii() or not is_bad(text):
        return text
    return ftfy.fix_encoding(text)


def normalize(text: str, *, unicode_form: Literal["NFC", "NFKC"], is_space_tidied: bool) -> str:
    """Unify line ends, Unicode form and, if wanted, blank space; take out what is invisible."""
    # Looking first is five times as fast as replacing what is not there.
    if not text.isascii():
        text = _SURROGATE.sub("", text.replace(_REPLACEMENT, ""))
        text = unicodedata.normalize(unicode_form, text)
        text = _UNSEEN.sub("", _LINE_END.sub("\n", text))
    elif len(text.encode().translate(None, _ODD_BYTES)) < len(text):
        text = _UNSEEN.sub("", _LINE_END.sub("\n", text))
    return _tidied(text) if is_space_tidied else text


def _tidied(text: str) -> str:
    if " \n" in text or text[-1:].isspace() or _ODD_SPACE.search(text):
        text = "\n".join(map(str.rstrip, text.split("\n")))
    if "\n\n\n" in text:
        text = _BLANK_LINES.sub("\n\n", text)
    return text.strip("\n")

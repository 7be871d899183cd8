"""What each character is, and the random values that hashes of text are made of.

Everything here is the same in every process and on every machine with the same Unicode tables.
"""

import unicodedata
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LETTER, DIGIT, SPACE, SYMBOL, HAN, KANA, HANGUL, CONTROL = (1 << bit for bit in range(8))
LAST_CODE = 0x32000
"""Code points from here on count as this one."""
POSITIONS = 1024
"""Of characters in a span, then its hash starts over."""
STEP = np.uint64(0x9E3779B97F4A7C15)
"""2^64 divided by the golden ratio: multiples of it are spread evenly."""
# Invisible marks that change bytes but not what is read: soft hyphen, zero-width space, word
# joiner, byte order mark. Zero-width joiners stay: Persian, Hindi and emoji need them.
INVISIBLE = "\u00ad\u200b\u2060\ufeff"

# What lies beyond has a class of its own only in Han extensions, which are added by range.
_TABLE_SIZE = 0x20000
_HAN_RANGES = ((0x3400, 0x4DC0), (0x4E00, 0xA000), (0xF900, 0xFB00), (0x20000, 0x32000))

Hashes = NDArray[np.uint64]


def mixed(values: Hashes) -> Hashes:
    """Spread 64-bit values evenly: the finalizer of splitmix64 (https://doi.org/10.1145/2714064.2660195)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def seeded(count: int, *, seed: int) -> Hashes:
    """`count` fixed 64-bit values that look random, the same everywhere."""
    steps = np.arange(1, count + 1, dtype=np.uint64) + np.uint64(seed << 32)
    return mixed(steps * STEP)


class Table(NamedTuple):
    """What is known of each code point; those past the end are like the last."""

    classes: NDArray[np.uint8]
    """Bits of what each is."""
    is_upper: NDArray[np.bool_]
    values: Hashes
    """A random value for each character, the same for upper and lower case."""
    positions: Hashes
    """An odd random value for each position in a word."""


@lru_cache(maxsize=1)
def character_table() -> Table:
    """The table of all characters; made once in a process, in a tenth of a second."""
    classes = np.zeros(LAST_CODE + 1, dtype=np.uint8)
    is_upper = np.zeros(LAST_CODE + 1, dtype=np.bool_)
    lower = np.arange(LAST_CODE + 1)
    for code in range(_TABLE_SIZE):
        character = chr(code)
        classes[code] = _class_of(character)
        is_upper[code] = character.isupper()
        small = character.lower()
        lower[code] = ord(small) if len(small) == 1 else code
    for start, stop in _HAN_RANGES:
        classes[start:stop] |= HAN | LETTER
    values = seeded(LAST_CODE + 1, seed=1)[lower]
    return Table(classes, is_upper, values, seeded(POSITIONS, seed=2) | np.uint64(1))


def _class_of(character: str) -> int:
    code, category = ord(character), unicodedata.category(character)
    if character.isspace():
        return SPACE if character in " \n\t" else SPACE | CONTROL
    if category == "Cc" or character in INVISIBLE:
        return CONTROL
    if category[0] in "LM":
        is_kana = 0x3040 <= code < 0x3100 or 0x31F0 <= code < 0x3200
        is_hangul = 0xAC00 <= code < 0xD7B0 or 0x1100 <= code < 0x1200
        return LETTER | (KANA if is_kana else 0) | (HANGUL if is_hangul else 0)
    return DIGIT if category[0] == "N" else SYMBOL

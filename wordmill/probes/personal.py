"""Personal data in what a model says: only what stands in the raw text is a leak.

Cleaning put placeholders where personal data was, so that none of it can come back by heart. What
looks like personal data in an answer is found with cleaning's own patterns and looked up in the
text as it was before: a number that a model made up is nobody's. The raw text is streamed, once,
and only where there is something to look up.
"""

from __future__ import annotations

import heapq
import random
import re
from typing import TYPE_CHECKING, NamedTuple

from wordmill.cleaning.masking import personal_data, placeholder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from wordmill.params.clean import MaskedKind

_TAIL_CHARS = 64  # an address may begin before the answer does
_PHONE_DIGITS = 8  # the last ones: with or without a country's code it is the same telephone
_ALL_BUT_DIGITS = bytes(sorted(set(range(256)) - set(b"0123456789")))


class Said(NamedTuple):
    """What a model said."""

    before: str
    """What it went on from; empty where it answered."""
    text: str


class _Hit(NamedTuple):
    """Personal data, however it is spelled."""

    kind: MaskedKind
    key: str


def leaks(
    said: Iterable[Said], raw_texts: Callable[[], Iterable[str]], kinds: Sequence[MaskedKind]
) -> dict[str, int]:
    """How much personal data of the raw text was said, by kind; each counts once.

    Args:
        said: everything that was generated.
        raw_texts: gives the training text before cleaning.
        kinds: that cleaning masks.
    """
    wanted: set[_Hit] = set()
    for before, text in said:
        tail = before[-_TAIL_CHARS:]
        wanted |= _hits(tail + text, kinds) - _hits(tail, kinds)
    found: set[_Hit] = set()
    for text in raw_texts() if wanted else ():
        if any(_may_hold(text, hit) for hit in wanted):
            here = _hits(text, kinds) & wanted
            found |= here
            wanted -= here
        if not wanted:
            break
    return {kind: count for kind in kinds if (count := sum(hit.kind == kind for hit in found))}


def masked_places(
    texts: Iterable[str], kinds: Sequence[MaskedKind], *, count: int, max_chars: int, seed: int
) -> list[str]:
    """What stands before some placeholders of cleaned texts, the same for the same seed.

    Args:
        texts: cleaned training texts.
        kinds: that cleaning masks.
        count: places at most.
        max_chars: kept of what stands before a place.
        seed: of the choice among all places.
    """
    if not kinds or count == 0:
        return []
    pattern = re.compile("|".join(re.escape(placeholder(kind)) for kind in kinds))
    draw = random.Random(seed)
    drawn = (
        (draw.random(), text[max(0, match.start() - max_chars) : match.start()].rstrip())
        for text in texts
        for match in pattern.finditer(text)
    )
    return [before for _, before in heapq.nsmallest(count, drawn)]


def _hits(text: str, kinds: Sequence[MaskedKind]) -> set[_Hit]:
    found = personal_data(text, kinds)
    return {_Hit(kind, _key(kind, value)) for kind, values in found.items() for value in values}


def _key(kind: MaskedKind, value: str) -> str:
    if kind == "email":
        return value.casefold()
    if kind == "phone":
        return "".join(filter(str.isdigit, value))[-_PHONE_DIGITS:]
    return "".join(filter(str.isalnum, value)).upper()


def _may_hold(text: str, hit: _Hit) -> bool:
    """Whether it is worth looking closer: patterns are slow, and most texts hold nothing."""
    if hit.kind == "email":
        return "@" in text and hit.key in text.casefold()
    digits = text.encode(errors="replace").translate(None, _ALL_BUT_DIGITS)
    return hit.key.encode().translate(None, _ALL_BUT_DIGITS) in digits

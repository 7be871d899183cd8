"""One text through all that changes text: what comes out and what was done to it."""

import re
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from wordmill.cleaning.boilerplate import without_boilerplate
from wordmill.cleaning.masking import mask
from wordmill.cleaning.repair import normalize, undo_mojibake
from wordmill.data.html import html_to_text
from wordmill.params.clean import CleanParams

# A text is HTML if it starts with a tag and closes one; prose that quotes a tag is not.
_STARTS_AS_HTML = re.compile(
    r"\s*(?:<!doctype html|<!--|<(?:html|head|body|div|p|span|table|ul|ol|article|section|main"
    r"|h[1-6]|a|b|i|em|strong|br|img|script|style)\b)",
    re.IGNORECASE,
)
_CLOSES_A_TAG = re.compile(r"</[a-z][a-z0-9]*>", re.IGNORECASE)
_EXCERPT_CHARS = 40
_SEARCHED_CHARS = 1000  # for the first difference; past it the ends are shown


class Mended(NamedTuple):
    """A text and what was done to it."""

    text: str
    changed: tuple[str, ...]
    """The steps that changed it."""
    masked: dict[str, int]
    """How many items of each kind of personal data were masked."""
    sample: str
    """Before and after where the first step changed it; empty where something was masked."""

    @classmethod
    def joined(cls, parts: "tuple[Mended, ...]") -> "Mended":
        """What was done to all parts of a row."""
        if len(parts) == 1:
            return parts[0]
        changed = tuple(dict.fromkeys(step for part in parts for step in part.changed))
        masked: Counter[str] = Counter()
        for part in parts:
            masked.update(part.masked)
        sample = next((part.sample for part in parts if part.sample), "")
        return cls("", changed, dict(masked), "" if masked else sample)


def mend(text: str, params: CleanParams) -> Mended:
    """Repair, convert, strip and mask a text."""
    changed: list[str] = []
    sample = ""
    for name, step in _STEPS.items():
        after = step(text, params)
        if after != text:
            changed.append(name)
            sample = sample or _sample(name, text, after)
            text = after
    text, masked = mask(text, params.mask)
    if masked:
        changed.append("mask")
    return Mended(text, tuple(changed), dict(masked), "" if masked else sample)


def _mojibake(text: str, params: CleanParams) -> str:
    return undo_mojibake(text) if params.repair.is_mojibake_undone else text


def _html(text: str, params: CleanParams) -> str:
    if not params.repair.is_html_converted or not _STARTS_AS_HTML.match(text):
        return text
    return html_to_text(text) if _CLOSES_A_TAG.search(text) else text


def _normalize(text: str, params: CleanParams) -> str:
    return normalize(text, unicode_form=params.repair.unicode_form)


def _boilerplate(text: str, params: CleanParams) -> str:
    return without_boilerplate(text, params.boilerplate) if params.boilerplate.is_on else text


_STEPS: dict[str, Callable[[str, CleanParams], str]] = {
    "html": _html,
    "mojibake": _mojibake,
    "normalize": _normalize,
    "boilerplate": _boilerplate,
}


def _sample(step: str, before: str, after: str) -> str:
    heads = zip(before[:_SEARCHED_CHARS], after, strict=False)
    differing = (place for place, (one, other) in enumerate(heads) if one != other)
    place = next(differing, min(len(before), len(after)))
    start = max(0, place - _EXCERPT_CHARS // 2)
    one, other = (text[start : start + _EXCERPT_CHARS] for text in (before, after))
    return f"{step}: {one!r} -> {other!r}"

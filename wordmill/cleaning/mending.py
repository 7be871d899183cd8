"""Texts through all that changes them: what comes out and what was done to each.

A step is a function from texts to texts, and one that leaves a text alone gives the same object
back. Nothing is told of a text in which personal data was found.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from wordmill.cleaning.boilerplate import without_boilerplate
from wordmill.cleaning.masking import mask
from wordmill.cleaning.repair import normalize, undo_mojibake
from wordmill.data.html import html_to_text
from wordmill.params.clean import CleanParams

# A text is HTML if it starts as a page, or starts with a tag, closes one and ends with one.
# Prose that quotes a tag is not, nor is Markdown with a line of HTML.
_STARTS_AS_PAGE = re.compile(r"\s*<(?:!doctype html|html|head|body)\b", re.IGNORECASE)
_STARTS_AS_HTML = re.compile(
    r"\s*(?:<!doctype html|<!--|<(?:html|head|body|div|p|span|table|ul|ol|article|section|main"
    r"|h[1-6]|a|b|i|em|strong|br|img|script|style)\b)",
    re.IGNORECASE,
)
_CLOSES_A_TAG = re.compile(r"</[a-z][a-z0-9]*>", re.IGNORECASE)
_EXCERPT_CHARS = 40
_SEARCHED_CHARS = 1000  # for the first difference; past it the ends are shown
_MAX_SAMPLES = 3  # of each step and batch

Step = Callable[[list[str]], list[str]]


@dataclass
class Mended:
    """Texts of a batch and what was done to them, by row."""

    texts: list[str]
    changed: dict[int, list[str]] = field(default_factory=dict[int, list[str]])
    """The steps that changed a text."""
    masked: dict[int, dict[str, int]] = field(default_factory=dict[int, dict[str, int]])
    """How many items of each kind of personal data were masked in it."""
    samples: dict[int, str] = field(default_factory=dict[int, str])
    """For some: what stood there before and after."""


def mend(texts: list[str], params: CleanParams, *, is_page: bool) -> Mended:
    """Convert, repair, strip and mask texts.

    Args:
        texts: a column of a batch.
        params: the `clean` section.
        is_page: whether they may hold boilerplate; a label or a short answer is none.
    """
    mended = Mended(texts)
    for name, step in _steps(params, is_page=is_page):
        _apply(name, step, mended)
    for row, text in enumerate(mended.texts):
        found, counts = mask(text, params.mask)
        if counts:
            mended.texts[row] = found
            mended.masked[row] = counts
            mended.changed.setdefault(row, []).append("mask")
    for row in list(mended.samples):  # what was masked, or went with a tag, is nobody's business
        if row in mended.masked or mask(texts[row], params.mask)[1]:
            del mended.samples[row]
    return mended


def _steps(params: CleanParams, *, is_page: bool) -> Iterator[tuple[str, Step]]:
    if params.repair.is_html_converted:
        yield "html", lambda texts: [_without_html(text) for text in texts]
    if params.repair.is_mojibake_undone:
        yield "mojibake", lambda texts: [undo_mojibake(text) for text in texts]
    form, is_tidied = params.repair.unicode_form, params.repair.is_space_tidied
    yield (
        "normalize",
        lambda texts: [
            normalize(text, unicode_form=form, is_space_tidied=is_tidied) for text in texts
        ],
    )
    boilerplate = params.boilerplate
    if boilerplate.is_on and is_page:
        yield "boilerplate", lambda texts: [without_boilerplate(t, boilerplate) for t in texts]


def _apply(name: str, step: Step, mended: Mended) -> None:
    before, mended.texts = mended.texts, step(mended.texts)
    num_samples = 0
    for row, (one, other) in enumerate(zip(before, mended.texts, strict=True)):
        if one is other or one == other:
            continue
        mended.changed.setdefault(row, []).append(name)
        if num_samples < _MAX_SAMPLES and row not in mended.samples:
            num_samples += 1
            mended.samples[row] = f"{name}: {_difference(one, other)}"


def _without_html(text: str) -> str:
    if not _STARTS_AS_HTML.match(text) or not _CLOSES_A_TAG.search(text):
        return text
    is_html = _STARTS_AS_PAGE.match(text) or text.rstrip("\x00 \t\r\n").endswith(">")
    return html_to_text(text) if is_html else text


def _difference(before: str, after: str) -> str:
    heads = zip(before[:_SEARCHED_CHARS], after, strict=False)
    differing = (place for place, (one, other) in enumerate(heads) if one != other)
    place = next(differing, min(len(before), len(after)))
    start = max(0, place - _EXCERPT_CHARS // 2)
    one, other = (text[start : start + _EXCERPT_CHARS] for text in (before, after))
    return f"{one!r} -> {other!r}"

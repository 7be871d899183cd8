"""Texts for a reader: answers to leaf through, surprise as colour, attention as shade.

Long texts are cut for display and say by how much; everything stays plain text here, the template
escapes it.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from wordmill.report.measures import OURS, measure
from wordmill.report.record import Attention, Example, Record, Surprise

_MAX_SOURCE_CHARS = 1500
_MAX_ANSWER_CHARS = 700
_MAX_PIECES = 1200
_NUM_SHADES = 8
_NATS_AT_DARKEST = 8.0
_NUM_PEAKS = 5


class Shown(NamedTuple):
    """A text as far as it is shown."""

    text: str
    num_more: int
    """Characters that are not."""


class Answer(NamedTuple):
    """What one system said."""

    system: str
    is_ours: bool
    shown: Shown


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A held-out pair with all answers."""

    id: str
    task: str
    why: str
    language: str
    source: Shown
    ask: str
    target: Shown
    score: str
    answers: list[Answer]


class Piece(NamedTuple):
    """A piece of text with its surprise."""

    text: str
    shade: int
    says: str


@dataclass(frozen=True, kw_only=True)
class HeatMap:
    """A text coloured by surprise."""

    id: str
    system: str
    language: str
    pieces: list[Piece]
    num_more: int
    mean: str
    peaks: list[tuple[str, str]]
    """The pieces that surprised most, and by how many nats."""


@dataclass(frozen=True, kw_only=True)
class Gaze:
    """An answer whose pieces each have a row of weights over the source."""

    id: str
    task: str
    system: str
    source: list[str]
    answer: list[str]
    rows: list[list[float]]
    """Shares of the row's largest weight, so that a flat gaze is still seen."""
    tops: list[float]
    """The largest weight of each row."""


def samples(record: Record) -> list[Sample]:
    """The examples, as given."""
    return [_sample(example) for example in record["examples"]]


def heat_maps(surprises: list[Surprise]) -> list[HeatMap]:
    """Texts with their surprise; those without a piece are left out."""
    return [_heat_map(found) for found in surprises if found["pieces"]]


def gazes(attentions: list[Attention]) -> list[Gaze]:
    """Answers with where the model looked; those without weights are left out."""
    return [_gaze(found) for found in attentions if found["weights"] and found["source"]]


def cut(text: str, max_chars: int) -> Shown:
    """A text's beginning, and how much is left out."""
    if len(text) <= max_chars:
        return Shown(text, 0)
    return Shown(text[:max_chars], len(text) - max_chars)


def _sample(example: Example) -> Sample:
    how, value = measure(example["metric"]), example["value"]
    return Sample(
        id=example["id"],
        task=example["task"],
        why=example["why"],
        language=example["language"],
        source=cut(example["source"], _MAX_SOURCE_CHARS),
        ask=example["ask"],
        target=cut(example["target"], _MAX_ANSWER_CHARS),
        score=f"{how.name} {how.words(value)}" if math.isfinite(value) else "",
        answers=[
            Answer(system, system == OURS, cut(text, _MAX_ANSWER_CHARS))
            for system, text in example["predictions"].items()
        ],
    )


def _heat_map(found: Surprise) -> HeatMap:
    both = list(zip(found["pieces"], found["nats"], strict=False))
    known = [(piece, nats) for piece, nats in both if math.isfinite(nats)]
    peaks = sorted(known, key=lambda pair: -pair[1])
    mean = sum(nats for _, nats in known) / len(known) if known else 0.0
    return HeatMap(
        id=found["id"],
        system=found["system"],
        language=found["language"],
        pieces=[_piece(piece, nats) for piece, nats in both[:_MAX_PIECES]],
        num_more=sum(len(piece) for piece, _ in both[_MAX_PIECES:]),
        mean=f"{mean:.2f}",
        peaks=[(p.strip(), f"{n:.1f}") for p, n in peaks if p.strip()][:_NUM_PEAKS],
    )


def _piece(text: str, nats: float) -> Piece:
    if not math.isfinite(nats):
        return Piece(text, _NUM_SHADES - 1, "impossible for this system")
    shade = min(_NUM_SHADES - 1, int(_NUM_SHADES * max(nats, 0.0) / _NATS_AT_DARKEST))
    return Piece(text, shade, f"{nats:.2f} nats, probability {math.exp(-nats):.3g}")


def _gaze(found: Attention) -> Gaze:
    num = min(len(found["answer"]), len(found["weights"]))
    rows: list[Any] = [[_finite(w) for w in row] for row in found["weights"][:num]]
    tops = [max(row, default=0.0) for row in rows]
    return Gaze(
        id=found["id"],
        task=found["task"],
        system=found["system"],
        source=found["source"],
        answer=found["answer"][:num],
        rows=[
            [round(w / (top or 1.0), 2) for w in row] for row, top in zip(rows, tops, strict=True)
        ],
        tops=[round(top, 3) for top in tops],
    )


def _finite(weight: float) -> float:
    return max(0.0, weight) if math.isfinite(weight) else 0.0

"""Charts as inline SVG: lines, dots with whiskers, bars, and the DAG as boxes.

Across, places are shares of the width, so that a chart fits a phone without shrinking its letters;
only the DAG has a width of its own. Colours are classes: the page's style decides. All text is
escaped by `Markup.format`.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

_LINE_HEIGHT = 220
_TOP, _BOTTOM = 18, 26
_MAX_POINTS = 120
_ROW = 24
_SCALE = 1000.0


class Line(NamedTuple):
    """A curve: its name, the class that colours it, and its points."""

    name: str
    style: str
    points: list[tuple[float, float]]
    has_dots: bool


class Whisker(NamedTuple):
    """A value with its interval."""

    value: float
    low: float
    high: float


class Axis(NamedTuple):
    """Where a value stands between 0 and 1."""

    low: float
    high: float
    is_log: bool

    def share(self, value: float) -> float:
        """The place of a value, kept on the axis."""
        low, high, at = self.low, self.high, value
        if self.is_log:
            low, high, at = math.log(low), math.log(high), math.log(max(at, self.low))
        return min(1.0, max(0.0, (at - low) / (high - low))) if high > low else 0.5

    def ticks(self, count: int = 4) -> list[float]:
        """Round values on the axis, about `count` of them."""
        if self.is_log:
            return _log_ticks(self.low, self.high)
        step = _round_step((self.high - self.low) / max(count, 1))
        if step == 0:
            return [self.low]
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [step * i for i in range(first, last + 1)]


def axis(whiskers: Sequence[Whisker]) -> Axis:
    """An axis that holds all whiskers, logarithmic where they span more than a factor of ten."""
    ends = [e for w in whiskers for e in (w.low, w.high, w.value) if math.isfinite(e)] or [0.0]
    low, high = min(ends), max(ends)
    if low > 0 and high / low > 10:
        return Axis(low / 1.15, high * 1.15, True)
    if low >= 0 and low < (high - low):
        low = 0.0
    room = 0.06 * (high - low) or abs(high) or 1.0
    return Axis(low - room if low != 0 else low, high + room if high != 0 else high, False)


def whisker(
    found: Whisker, on: Axis, *, label: str, style: str = "", has_middle: bool = False
) -> Markup:
    """One row: a dot on its interval, over the axis' ticks or over its middle alone."""
    middle_line = Markup('<line class="middle" x1="50%" x2="50%" y1="0" y2="{}"/>').format(_ROW)
    parts = [middle_line if has_middle else _ticks(on, _ROW)]
    middle = _ROW // 2
    line = '<line class="whisker" x1="{:.2f}%" x2="{:.2f}%" y1="{}" y2="{}"/>'
    if math.isfinite(found.low) and math.isfinite(found.high):
        ends = (100 * on.share(found.low), 100 * on.share(found.high))
        parts.append(Markup(line).format(*ends, middle, middle))
    dot = '<circle class="dot" cx="{:.2f}%" cy="{}" r="4.5"/>'
    parts.append(Markup(dot).format(100 * on.share(found.value), middle))
    frame = '<svg class="row-chart {}" width="100%" height="{}" role="img" aria-label="{}">{}</svg>'
    return Markup(frame).format(style, _ROW, label, Markup("").join(parts))


def scale(on: Axis) -> Markup:
    """The axis under rows of whiskers."""
    text = '<text x="{:.2f}%" y="12" text-anchor="{}">{}</text>'
    ticks = [(on.share(tick), tick) for tick in on.ticks()]
    drawn = [Markup(text).format(100 * at, _anchor(at), _short(tick)) for at, tick in ticks]
    frame = '<svg class="scale" width="100%" height="16" aria-hidden="true">{}</svg>'
    return Markup(frame).format(Markup("").join(drawn))


def bar(share: float, *, label: str) -> Markup:
    """A share of the whole, 0 to 1."""
    drawn = (
        '<svg class="bar" width="100%" height="8" role="img" aria-label="{}">'
        '<rect class="bar-whole" width="100%" height="8" rx="2"/>'
        '<rect class="bar-part" width="{:.2f}%" height="8" rx="2"/></svg>'
    )
    return Markup(drawn).format(label, 100 * min(1.0, max(0.0, share)))


def lines(curves: Sequence[Line], *, label: str) -> Markup:
    """Curves over steps. Long ones are thinned by the mean of neighbours; gaps stay gaps."""
    points = [p for curve in curves for p in curve.points if math.isfinite(p[1])]
    if not points:
        return Markup("")
    steps, values = [p[0] for p in points], [p[1] for p in points]
    x = Axis(min(0.0, min(steps)), max(steps), False)
    room = 0.04 * (max(values) - min(values)) or abs(max(values)) or 1.0
    y = Axis(min(values) - room, max(values) + room, False)
    parts = [_grid(x, y)]
    paths = Markup("").join(_path(curve, x, y) for curve in curves)
    inner = (
        '<svg viewBox="0 0 {:.0f} {}" preserveAspectRatio="none" width="100%" height="{}">{}</svg>'
    )
    parts.append(Markup(inner).format(_SCALE, _LINE_HEIGHT, _LINE_HEIGHT, paths))
    parts += [_dots(curve, x, y) for curve in curves if curve.has_dots]
    frame = '<svg class="lines" width="100%" height="{}" role="img" aria-label="{}">{}</svg>'
    return Markup(frame).format(_LINE_HEIGHT, label, Markup("").join(parts))


def _grid(x: Axis, y: Axis) -> Markup:
    rule = (
        '<line class="grid" x1="0" x2="100%" y1="{0:.1f}" y2="{0:.1f}"/>'
        '<text x="0" y="{1:.1f}">{2}</text>'
    )
    under = '<text x="{:.2f}%" y="{}" text-anchor="{}">{}</text>'
    drawn = [Markup(rule).format(_down(t, y), _down(t, y) - 4, _short(t)) for t in y.ticks()]
    for tick in x.ticks(5):
        at = x.share(tick)
        drawn.append(Markup(under).format(100 * at, _LINE_HEIGHT - 8, _anchor(at), _short(tick)))
    return Markup("").join(drawn)


def _path(curve: Line, x: Axis, y: Axis) -> Markup:
    pieces: list[str] = []
    is_begun = False
    for step, value in _thinned(curve.points):
        if not math.isfinite(value):
            is_begun = False
            continue
        letter = "L" if is_begun else "M"
        pieces.append(f"{letter}{_SCALE * x.share(step):.1f} {_down(value, y):.1f}")
        is_begun = True
    drawn = '<path class="line {}" vector-effect="non-scaling-stroke" d="{}"/>'
    return Markup(drawn).format(curve.style, "".join(pieces))


def _dots(curve: Line, x: Axis, y: Axis) -> Markup:
    drawn = '<circle class="{}" cx="{:.2f}%" cy="{:.1f}" r="3.5"><title>{}</title></circle>'
    told = "step {:,.0f}: {} {:.4g}"
    return Markup("").join(
        Markup(drawn).format(
            curve.style, 100 * x.share(step), _down(v, y), told.format(step, curve.name, v)
        )
        for step, v in curve.points
        if math.isfinite(v)
    )


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    size = math.ceil(len(points) / _MAX_POINTS)
    if size <= 1:
        return points
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [
        (sum(p[0] for p in group) / len(group), sum(p[1] for p in group) / len(group))
        for group in groups
    ]


def _down(value: float, y: Axis) -> float:
    room = _LINE_HEIGHT - _TOP - _BOTTOM
    return _TOP + room * (1 - y.share(value))


def _ticks(on: Axis, height: int) -> Markup:
    rule = '<line class="grid" x1="{0:.2f}%" x2="{0:.2f}%" y1="0" y2="{1}"/>'
    return Markup("").join(Markup(rule).format(100 * on.share(t), height) for t in on.ticks())


def _anchor(share: float) -> str:
    return "start" if share < 0.06 else "end" if share > 0.94 else "middle"


def _round_step(rough: float) -> float:
    if rough <= 0 or not math.isfinite(rough):
        return 0.0
    unit = 10 ** math.floor(math.log10(rough))
    return unit * next(m for m in (1, 2, 5, 10) if rough <= m * unit * 1.0001)


def _log_ticks(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1, 3) if last - first <= 3 else (1,)
    found = [m * 10.0**power for power in range(first, last + 1) for m in steps]
    return [value for value in found if low <= value <= high]


def _short(value: float) -> str:
    if abs(value) >= 10_000:
        return f"{value / 1000:,.6g}k"
    return f"{0.0 if abs(value) < 1e-12 else value:,.6g}"

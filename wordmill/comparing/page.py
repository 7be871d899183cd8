"""A comparison as one HTML file that needs no network and no other file.

It wears the style of the evaluation's report and its charts. Names come from people and git, values
from params: the template escapes them all.
"""

import base64
import hashlib
import math
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

from wordmill.comparing.side_by_side import Against, Kind, SideBySide
from wordmill.comparing.spread import Spread
from wordmill.comparing.words import against_words, score_words, spread_words
from wordmill.report.charts import Axis, Line, Whisker, axis, lines, scale, whisker
from wordmill.report.measures import best_of, measure
from wordmill.report.templates import environment

_FOLDER = Path(__file__).parent
_REPORT = _FOLDER.parent / "report"
_NUM_STYLES = 8
_MAX_DOTS = 60
_OVER = {
    "seeds": "Runs that differ by nothing but their seed: what training again would change.",
    "folds": "Runs that differ by nothing but the part of the data that is held out and scored."
    " They share most of their training text, so the deviation is no interval of the mean.",
}


class Chart(NamedTuple):
    """A metric's rows over one scale."""

    title: str
    says: str
    rows: list[tuple[str, Markup, str, str]]
    """Name, drawing, value, and whether it is the best."""
    scale: Markup


def page(found: SideBySide, *, made_at: str) -> str:
    """The comparison as HTML.

    Args:
        found: the results side by side.
        made_at: when, in words.
    """
    script = (_REPORT / "page.js").read_text(encoding="utf-8")
    return _template().render(
        title=f"{len(found.names)} results",
        made_at=made_at,
        style=(_REPORT / "page.css").read_text(encoding="utf-8"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        found=found,
        styles={name: f"c{i % _NUM_STYLES}" for i, name in enumerate(found.names)},
        kinds=[_kind(found, kind) for kind in found.kinds],
        differing=[
            ("params", "Params", found.params),
            ("data", "Data", found.data),
            ("origin", "Code and surroundings", found.origin),
        ],
        curves=_curves(found),
    )


def _kind(found: SideBySide, kind: Kind) -> dict[str, Any]:
    return {
        "kind": kind.kind,
        "count": kind.count,
        "note": kind.note,
        "charts": [_chart(found, kind, metric) for metric in kind.main],
        "spreads": _spread_blocks(kind),
        "heads": [measure(metric).title for metric in kind.metrics],
        "rows": [
            (name, [score_words(metric, scores.get(metric)) for metric in kind.metrics])
            for name, scores in zip(found.names, kind.scores, strict=True)
        ],
        "against": _against([row for row in kind.against if row.metric in kind.main]),
        "more": _against([row for row in kind.against if row.metric not in kind.main]),
        "base": next(n for n, s in zip(found.names, kind.scores, strict=True) if s),
    }


def _chart(found: SideBySide, kind: Kind, metric: str) -> Chart:
    scores = {n: s for n, s in zip(found.names, kind.scores, strict=True) if metric in s}
    drawn = {
        n: Whisker(s[metric]["value"], s[metric]["low"], s[metric]["high"])
        for n, s in scores.items()
    }
    on, how, best = axis(list(drawn.values())), measure(metric), best_of(scores, metric)
    rows: list[tuple[str, Markup, str, str]] = []
    for name, one in drawn.items():
        value, ends = score_words(metric, scores[name][metric])
        label = f"{name}: {how.name} {value}, 95% interval {ends}"
        rows.append((name, whisker(one, on, label=label), value, "best" if name in best else ""))
    return Chart(how.title, how.says, rows, scale(on))


def _spread_blocks(kind: Kind) -> list[tuple[str, str, list[Chart]]]:
    """What runs differ by, what that says, and a chart for each metric."""
    blocks: list[tuple[str, str, list[Chart]]] = []
    for over in dict.fromkeys(row.over for row in kind.spreads):
        rows = [row for row in kind.spreads if row.over == over]
        metrics = dict.fromkeys(row.metric for row in rows)
        charts = [_spread([row for row in rows if row.metric == metric]) for metric in metrics]
        blocks.append((over, _OVER[over], charts))
    return blocks


def _spread(rows: list[Spread]) -> Chart:
    over, metric = rows[0].over, rows[0].metric
    drawn = [_whisker(row) for row in rows]
    on, how = axis(drawn), measure(metric)
    told = [
        (
            row.label,
            whisker(one, on, label=f"{row.label}: {spread_words(row)}"),
            spread_words(row),
            "",
        )
        for row, one in zip(rows, drawn, strict=True)
    ]
    return Chart(how.title, f"mean over {over}, and one standard deviation", told, scale(on))


def _whisker(row: Spread) -> Whisker:
    away = 0.0 if math.isnan(row.deviation) else row.deviation
    return Whisker(row.mean, row.mean - away, row.mean + away)


def _against(rows: list[Against]) -> list[dict[str, Any]]:
    reach: dict[str, float] = {}
    for row in rows:
        ends = [abs(end) for end in (row.value, row.low, row.high) if math.isfinite(end)]
        reach[row.metric] = max([reach.get(row.metric, 0.0), *ends])
    found: list[dict[str, Any]] = []
    for row in rows:
        far = reach[row.metric] or 1.0
        value, ends, p = against_words(row)
        drawn = whisker(
            Whisker(row.value, row.low, row.high),
            Axis(-1.06 * far, 1.06 * far, False),
            label=f"{row.name}: difference {value}",
            has_middle=True,
        )
        found.append(
            {
                "name": row.name,
                "metric": measure(row.metric).name,
                "drawn": drawn,
                "value": value,
                "ends": ends,
                "p": p,
                "says": row.says,
            }
        )
    return found


def _curves(found: SideBySide) -> list[tuple[str, list[tuple[str, str]], Markup]]:
    """Title, legend (style and name), and the drawing."""
    styles = {name: f"c{i % _NUM_STYLES}" for i, name in enumerate(found.names)}
    charts: list[tuple[str, list[tuple[str, str]], Markup]] = []
    for title, curves in found.curves:
        drawn = [
            Line(name, styles[name], _points(curve), len(curve["steps"]) <= _MAX_DOTS)
            for name, curve in curves
        ]
        legend = [(styles[name], name) for name, _ in curves]
        charts.append((title, legend, lines(drawn, label=title)))
    return charts


def _points(curve: Any) -> list[tuple[float, float]]:
    return [(float(s), v) for s, v in zip(curve["steps"], curve["values"], strict=False)]


@lru_cache(maxsize=1)
def _template() -> jinja2.Template:
    return environment(_FOLDER).get_template("page.html")

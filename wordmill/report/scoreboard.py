"""Scores as a page shows them: charts, tables, parts of the set, and tested differences."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from wordmill.report.charts import Axis, Whisker, axis, scale, whisker
from wordmill.report.measures import (
    OURS,
    SYSTEMS,
    best_of,
    is_scored,
    main_metrics,
    measure,
    metrics_of,
)
from wordmill.report.record import Difference, Record, Scored, Slice
from wordmill.report.verdict import outcome, p_words


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A value in a table; empty where a system has none."""

    words: str = ""
    ends: str = ""
    is_best: bool = False


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of a table: a system, or a part of the set."""

    name: str
    says: str = ""
    count: int | None = None
    is_ours: bool = False
    cells: list[Cell]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Titles and rows."""

    heads: list[str]
    rows: list[Row]


@dataclass(frozen=True, kw_only=True)
class Bars:
    """A metric's chart: a row for each system, over one scale."""

    metric: str
    title: str
    says: str
    rows: list[tuple[Row, Markup]]
    scale: Markup
    is_log: bool


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A tested difference in words."""

    metric: str
    a: str
    b: str
    value: str
    ends: str
    p_bootstrap: str
    p_randomization: str
    count: int
    says: str
    chart: Markup


@dataclass(frozen=True, kw_only=True)
class Board:
    """All scores of one kind: `documents` or a task."""

    kind: str
    count: int
    charts: list[Bars]
    table: Table
    slices: list[tuple[str, str, Table]]
    """What the parts are made by, the metric's title, and their table."""
    differences: list[Compared]
    """Of the primary metric, this run's model in them."""
    other_differences: list[Compared]


def boards(record: Record) -> list[Board]:
    """A board for documents and for each task that was scored."""
    kinds: list[tuple[str, int, Scored]] = [
        ("documents", record["num_documents"], record["documents"])
    ]
    kinds += [(task, record["num_pairs"].get(task, 0), s) for task, s in record["pairs"].items()]
    return [_board(record, kind, count, scores) for kind, count, scores in kinds if scores]


def _board(record: Record, kind: str, count: int, scores: Scored) -> Board:
    primary = record["primary"].get(kind)
    differences = [d for d in record["differences"] if d["kind"] == kind]
    chosen = [d for d in differences if d["metric"] == primary and OURS in (d["a"], d["b"])]
    shown = chosen or [d for d in differences if d["metric"] == primary]
    return Board(
        kind=kind,
        count=count,
        charts=[_chart(scores, m) for m in main_metrics(kind, scores, primary=primary)],
        table=_systems(scores),
        slices=_slices([s for s in record["slices"] if s["kind"] == kind], primary),
        differences=_compared(shown),
        other_differences=_compared([d for d in differences if d not in shown]),
    )


def _chart(scores: Scored, metric: str) -> Bars:
    how = measure(metric)
    found = {s: m[metric] for s, m in scores.items() if is_scored(m, metric)}
    whiskers = {s: Whisker(v["value"], v["low"], v["high"]) for s, v in found.items()}
    on = axis(list(whiskers.values()))
    best = best_of(scores, metric)
    rows: list[tuple[Row, Markup]] = []
    for system, drawn in whiskers.items():
        cell = _cell(scores, system, metric, best)
        row = _row(system, [cell])
        label = f"{system}: {how.name} {cell.words}, 95% interval {cell.ends}"
        rows.append((row, whisker(drawn, on, label=label, style="ours" if row.is_ours else "")))
    return Bars(
        metric=metric,
        title=how.title,
        says=how.says,
        rows=rows,
        scale=scale(on),
        is_log=on.is_log,
    )


def _systems(scores: Scored) -> Table:
    metrics = metrics_of(scores)
    best = {metric: best_of(scores, metric) for metric in metrics}
    rows = [_row(s, [_cell(scores, s, m, best[m]) for m in metrics]) for s in scores]
    return Table(heads=[measure(metric).title for metric in metrics], rows=rows)


def _row(system: str, cells: list[Cell]) -> Row:
    return Row(name=system, says=SYSTEMS.get(system, ""), is_ours=system == OURS, cells=cells)


def _cell(scores: Scored, system: str, metric: str, best: Sequence[str]) -> Cell:
    if not is_scored(scores.get(system, {}), metric):
        return Cell()
    how, found = measure(metric), scores[system][metric]
    ends = f"{how.words(found['low'])} to {how.words(found['high'])}"
    return Cell(words=how.words(found["value"]), ends=ends, is_best=system in best)


def _slices(slices: list[Slice], primary: str | None) -> list[tuple[str, str, Table]]:
    """Parts down, systems across, the primary metric inside."""
    tables: list[tuple[str, str, Table]] = []
    for by in dict.fromkeys(part["by"] for part in slices):
        parts = [part for part in slices if part["by"] == by]
        metric = primary or next((m for p in parts for m in metrics_of(p["scores"])), "")
        systems = list(dict.fromkeys(system for part in parts for system in part["scores"]))
        rows: list[Row] = []
        for part in parts:
            best = best_of(part["scores"], metric)
            cells = [_cell(part["scores"], system, metric, best) for system in systems]
            rows.append(Row(name=part["name"] or "unknown", count=part["count"], cells=cells))
        tables.append((by, measure(metric).title, Table(heads=systems, rows=rows)))
    return tables


def _compared(differences: list[Difference]) -> list[Compared]:
    on: dict[str, Axis] = {}
    for metric in {d["metric"] for d in differences}:
        drawn = [_whisker(d) for d in differences if d["metric"] == metric]
        on[metric] = _around_zero(drawn)
    return [_difference(d, on[d["metric"]]) for d in differences]


def _difference(found: Difference, on: Axis) -> Compared:
    how = measure(found["metric"])
    value, low, high = (how.words(found[end]) for end in ("value", "low", "high"))
    signed = f"+{value}" if found["value"] > 0 else value
    says = outcome(found)
    style = "ours" if says == f"{OURS} is better" else ""
    label = f"{found['a']} minus {found['b']}: {signed}, 95% interval {low} to {high}"
    told: dict[str, Any] = {
        name: p_words(found[name]) for name in ("p_bootstrap", "p_randomization")
    }
    return Compared(
        metric=how.title,
        a=found["a"],
        b=found["b"],
        value=signed,
        ends=f"{low} to {high}",
        count=found["count"],
        says=says,
        chart=whisker(_whisker(found), on, label=label, style=style, has_middle=True),
        **told,
    )


def _whisker(found: Difference) -> Whisker:
    return Whisker(found["value"], found["low"], found["high"])


def _around_zero(drawn: list[Whisker]) -> Axis:
    """As far to the left as to the right, so that zero stands in the middle of every row."""
    reach = max((max(abs(w.low), abs(w.high), abs(w.value)) for w in drawn), default=0.0) or 1.0
    return Axis(-1.06 * reach, 1.06 * reach, False)

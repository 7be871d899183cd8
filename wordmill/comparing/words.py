"""A comparison as words: cells that terminal and page share, and the text for a terminal."""

import math
from collections.abc import Sequence
from typing import Any

from wordmill.comparing.side_by_side import Against, Kind, SideBySide
from wordmill.comparing.spread import Differing, Spread
from wordmill.report.measures import measure
from wordmill.report.verdict import p_words

_MAX_CELL = 28
_MAX_ROWS = 20
_MOST_IN_FULL = 3  # results; of more than these, differences in the primary metric alone


def terminal(found: SideBySide) -> str:
    """All of it for a terminal, main metrics alone."""
    parts = [_differing(found, title, rows) for title, rows in _differences(found)]
    for kind in found.kinds:
        parts.append(_scores(found, kind))
        parts.append(_against(found, kind))
        parts.append(_spreads(kind))
    if found.refusals:
        told = (f"  {r.what}: {r.name} {_verb(r.reason)}{r.reason}" for r in found.refusals)
        parts.append("\n".join(("Not compared", *told)))
    return "\n\n".join(part for part in parts if part)


def score_words(metric: str, score: dict[str, Any] | None) -> tuple[str, str]:
    """A value, and its interval; empty where there is none."""
    if score is None or not math.isfinite(score["value"]):
        return "", ""
    how = measure(metric)
    return how.words(score["value"]), f"{how.words(score['low'])} to {how.words(score['high'])}"


def against_words(row: Against) -> tuple[str, str, str]:
    """A difference, its interval, and p; the latter two empty where no test is paired."""
    how = measure(row.metric)
    value = how.words(row.value)
    signed = value if value.startswith("−") or row.value == 0 else f"+{value}"
    if math.isnan(row.p_randomization):
        return signed, "", ""
    return signed, f"{how.words(row.low)} to {how.words(row.high)}", p_words(row.p_randomization)


def spread_words(row: Spread) -> str:
    """A mean with the standard deviation over runs."""
    how = measure(row.metric)
    if math.isnan(row.deviation):
        return f"{how.words(row.mean)} (1 run)"
    return f"{how.words(row.mean)} ± {how.words(row.deviation)} ({len(row.values)} runs)"


def _verb(reason: str) -> str:
    return "is " if reason.startswith(("scored", "computed")) else ""


def _differences(found: SideBySide) -> list[tuple[str, list[Differing]]]:
    return [
        ("Params that differ", found.params),
        ("Data that differs", found.data),
        ("Code and surroundings that differ", found.origin),
    ]


def _differing(found: SideBySide, title: str, rows: list[Differing]) -> str:
    if not rows:
        return f"{title}: none" if title != "Code and surroundings that differ" else ""
    shown = [[row.name, *map(_short, row.values)] for row in rows[:_MAX_ROWS]]
    more = f"\n  and {len(rows) - _MAX_ROWS} more" if len(rows) > _MAX_ROWS else ""
    return f"{title}\n{_table([['', *found.names], *shown])}{more}"


def _scores(found: SideBySide, kind: Kind) -> str:
    rows = [["", *(measure(metric).title for metric in kind.main)]]
    for name, scores in zip(found.names, kind.scores, strict=True):
        cells = (score_words(metric, scores.get(metric)) for metric in kind.main)
        rows.append([name, *(f"{value} [{ends}]" if value else "–" for value, ends in cells)])
    what = "documents" if kind.kind == "documents" else f"pairs to {kind.kind}"
    if kind.kind == "write":
        what = "drafts to write on"
    return f"{kind.count:,} held-out {what}, 95% intervals\n{_table(rows)}"


def _against(found: SideBySide, kind: Kind) -> str:
    rows = [["", "metric", "difference", "95%", "p", "so"]]
    metrics = kind.main if len(found.names) <= _MOST_IN_FULL else [kind.primary]
    for row in kind.against:
        if row.metric in metrics:
            rows.append([row.name, measure(row.metric).name, *against_words(row), row.says])
    if len(rows) == 1:
        return ""
    note = f"\n  {kind.note}" if kind.note else ""
    base = next(n for n, scores in zip(found.names, kind.scores, strict=True) if scores)
    return f"{kind.kind} against {base}\n{_table(rows)}{note}"


def _spreads(kind: Kind) -> str:
    tables = (_spread_table(kind, over) for over in dict.fromkeys(s.over for s in kind.spreads))
    return "\n\n".join(tables)


def _spread_table(kind: Kind, over: str) -> str:
    spreads = [row for row in kind.spreads if row.over == over]
    metrics = list(dict.fromkeys(row.metric for row in spreads))
    by: dict[str, dict[str, str]] = {}
    for row in spreads:
        by.setdefault(row.label, {})[row.metric] = spread_words(row)
    rows = [[label, *(cells.get(metric, "–") for metric in metrics)] for label, cells in by.items()]
    heads = ["", *(measure(metric).title for metric in metrics)]
    return f"{kind.kind} over {over}, mean ± standard deviation\n{_table([heads, *rows])}"


def _short(text: str) -> str:
    return text if len(text) <= _MAX_CELL else f"{text[: _MAX_CELL - 1]}…"


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )

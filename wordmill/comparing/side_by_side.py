"""Results side by side: the first is what the others are compared with.

Scores are compared where the metric's signature and the held-out examples are the same, and nowhere
else; a refusal says why in words. Runs that differ by their seed or their fold alone are one
configuration, with a mean and a spread.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from wordmill.comparing.alike import Refusal, comparable, other_set
from wordmill.comparing.result import Result, statistics_of
from wordmill.comparing.spread import CODE, TEXTS, Differing, Spread, over_folds, over_seeds
from wordmill.metrics.significance import compare
from wordmill.report.measures import main_metrics, measure, metrics_of
from wordmill.report.record import Curve
from wordmill.report.verdict import ALPHA

_SAMPLES = 1000
_RESAMPLING_SEED = 1
_MISSING = "–"


@dataclass(frozen=True, kw_only=True)
class Against:
    """A result against the first one, by one metric."""

    metric: str
    name: str
    value: float
    """Its score minus that of the first."""
    low: float
    """Of the paired interval; NaN where the test is not paired."""
    high: float
    p_bootstrap: float
    """NaN where the test is not paired."""
    p_randomization: float
    count: int
    says: Literal["better", "worse", "the same", "no telling", "differs", "intervals apart"]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What the results say of `documents` or of a task."""

    kind: str
    primary: str
    count: int
    metrics: list[str]
    """All that can be compared, the main ones first."""
    main: list[str]
    scores: list[dict[str, dict[str, Any]]]
    """For each result its comparable scores."""
    against: list[Against]
    spreads: list[Spread]
    note: str
    """Why no test is paired, else empty."""


@dataclass(frozen=True, kw_only=True)
class SideBySide:
    """All of it."""

    names: list[str]
    params: list[Differing]
    data: list[Differing]
    origin: list[Differing]
    kinds: list[Kind]
    refusals: list[Refusal]
    curves: list[tuple[str, list[tuple[str, Curve]]]]
    """Title, and a curve of each result."""


def side_by_side(results: Sequence[Result]) -> SideBySide:
    """Compare results with the first of them.

    Args:
        results: two or more, each with a name of its own.
    """
    kinds = list(dict.fromkeys(kind for one in results for kind in one.kinds))
    refusals: list[Refusal] = []
    params = _differing([one.params for one in results])
    origin = _differing([one.origin for one in results])
    sets = [_sets(one) for one in results]
    data = _differing([{**one.data, **held} for one, held in zip(results, sets, strict=True)])
    conditions = [*params, *(row for row in [*origin, *data] if row.name in (CODE, TEXTS))]
    found = [_kind(kind, results, conditions, refusals) for kind in kinds]
    return SideBySide(
        names=[one.name for one in results],
        params=params,
        data=data,
        origin=origin,
        kinds=[kind for kind in found if kind is not None],
        refusals=refusals,
        curves=_curves(results),
    )


def _differing(values: list[dict[str, str]]) -> list[Differing]:
    names = dict.fromkeys(name for one in values for name in one)
    rows = [Differing(name=n, values=[one.get(n, _MISSING) for one in values]) for n in names]
    return [row for row in rows if len(set(row.values)) > 1]


def _sets(one: Result) -> dict[str, str]:
    identity = one.record["identity"]
    found = {f"held-out {kind}": str(identity[kind]) for kind in one.kinds if kind in identity}
    return found | {"tokenizer's fingerprint": str(identity.get("tokenizer", _MISSING))}


def _kind(
    kind: str, results: Sequence[Result], conditions: list[Differing], refusals: list[Refusal]
) -> Kind | None:
    there = [one for one in results if one.scores(kind)]
    base = there[0]
    refusals += [
        Refusal(what=kind, name=one.name, reason="it was not scored on this kind")
        for one in results
        if one not in there
    ]
    alike = [base]
    for one in there[1:]:
        if reason := other_set(kind, base, one):
            refusals.append(Refusal(what=kind, name=one.name, reason=reason))
        else:
            alike.append(one)
    scores = {one.name: comparable(kind, base, one, refusals) for one in alike}
    primary = base.record["primary"].get(kind, "")
    main = main_metrics(kind, {base.name: scores[base.name]}, primary=primary)
    folds = over_folds(kind, results, conditions, main, refusals)
    if len(alike) < 2 and not folds:
        return None
    rest = [m for m in metrics_of({base.name: scores[base.name]}) if m not in main]
    against = _tested(kind, base, alike[1:], scores)
    return Kind(
        kind=kind,
        primary=primary,
        count=next(iter(scores[base.name].values()))["count"],
        metrics=[*main, *rest],
        main=main,
        scores=[scores.get(one.name, {}) for one in results],
        against=against,
        spreads=[*over_seeds(results, scores, conditions, main), *folds],
        note=_note(kind, [row for row in against if row.metric in main]),
    )


def _tested(
    kind: str, base: Result, others: list[Result], scores: dict[str, dict[str, dict[str, Any]]]
) -> list[Against]:
    rows: list[Against] = []
    keys = sorted(base.answers.get(kind, {}))
    mine = statistics_of(base, kind, keys) if keys else {}
    for one in others:
        paired: dict[str, Against] = {}
        if keys and kind in one.answers:
            theirs = statistics_of(one, kind, keys)
            tested = compare(theirs, mine, samples=_SAMPLES, seed=_RESAMPLING_SEED)
            paired = {
                metric: Against(
                    metric=metric,
                    name=one.name,
                    value=found.value,
                    low=found.low,
                    high=found.high,
                    p_bootstrap=found.p_bootstrap,
                    p_randomization=found.p_randomization,
                    count=found.count,
                    says=_says(metric, found.value, found.p_randomization),
                )
                for metric, found in tested.items()
            }
        for metric, score in scores[one.name].items():
            if metric in paired:
                rows.append(paired[metric])
            else:
                rows.append(_unpaired(metric, one.name, score, scores[base.name][metric]))
    return rows


def _note(kind: str, rows: list[Against]) -> str:
    unpaired = [row for row in rows if math.isnan(row.p_randomization)]
    if not unpaired:
        return ""
    names = ", ".join(dict.fromkeys(measure(row.metric).name for row in unpaired))
    if kind == "documents":
        why = "Results keep no score of each document"
    elif len(unpaired) == len(rows):
        why = "The answers are not kept, or do not give the recorded scores"
    else:
        why = f"The answers alone do not give {names}"
    return (
        f"{why}, so no paired test can be made; such scores are told apart only where their"
        " intervals do not meet, which is stricter than a paired test."
    )


def _says(metric: str, value: float, p: float) -> Any:
    better = measure(metric).better
    if value == 0:
        return "the same"
    if p >= ALPHA:
        return "no telling"
    if better not in ("lower", "higher"):
        return "differs"
    return "better" if (value < 0) == (better == "lower") else "worse"


def _unpaired(metric: str, name: str, score: dict[str, Any], base: dict[str, Any]) -> Against:
    value = score["value"] - base["value"]
    is_apart = score["low"] > base["high"] or score["high"] < base["low"]
    return Against(
        metric=metric,
        name=name,
        value=value,
        low=math.nan,
        high=math.nan,
        p_bootstrap=math.nan,
        p_randomization=math.nan,
        count=score["count"],
        says="the same" if value == 0 else _says(metric, value, 0.0 if is_apart else 1.0),
    )


def _curves(results: Sequence[Result]) -> list[tuple[str, list[tuple[str, Curve]]]]:
    """Each curve over the same curve of the others; losses by token only of one tokenizer."""
    known = results[0].record["identity"].get("tokenizer")
    rows = [
        ((curve["stage"], curve["name"].replace("_", " ")), one.name, curve)
        for one in results
        if one.record["identity"].get("tokenizer") == known
        for curve in one.curves
    ]
    rows.sort(key=lambda row: row[0])
    return [
        (f"{title[0]} · {title[1]}", [(name, curve) for _, name, curve in found])
        for title, found in groupby(rows, key=lambda row: row[0])
    ]

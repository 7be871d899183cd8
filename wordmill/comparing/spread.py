"""Runs that differ by what should not matter: their seed, or their fold of cross-validation.

Such runs are one configuration, with a mean and a spread. Seeds are scored on the same examples.
Folds are not, that is what they are for: their scores are averaged and never tested against each
other.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any, Literal

from wordmill.comparing.alike import Refusal, unlike
from wordmill.comparing.result import Result
from wordmill.report.measures import measure

_SEED, _FOLD = "seed", "ingest.fold"
CODE, TEXTS = "code", "ingest"
"""What makes another configuration beside the params: other code, other texts."""

Score = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Differing:
    """Something that is not the same in all results."""

    name: str
    values: list[str]
    """One for each result."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Runs of one configuration."""

    over: Literal["seeds", "folds"]
    label: str
    metric: str
    values: list[float]
    mean: float
    deviation: float
    """The sample's standard deviation."""


def over_seeds(
    results: Sequence[Result],
    scores: dict[str, dict[str, Score]],
    conditions: list[Differing],
    metrics: list[str],
) -> list[Spread]:
    """Configurations of more than one seed; a seed counts once, whatever it is called.

    Args:
        results: all of them.
        scores: by name, of those on the same examples: metric -> score.
        conditions: params that differ, and code and texts where they do.
        metrics: to tell of.
    """
    groups = _groups(_SEED, results, conditions, lambda one: one.name in scores)
    return _spreads("seeds", groups, metrics, lambda one: scores[one.name])


def over_folds(
    kind: str,
    results: Sequence[Result],
    conditions: list[Differing],
    metrics: list[str],
    refusals: list[Refusal],
) -> list[Spread]:
    """Configurations of more than one fold, by those metrics that mean the same in every fold.

    Args:
        kind: `documents` or a task.
        results: all of them.
        conditions: params that differ, and code and texts where they do.
        metrics: to tell of.
        refusals: takes a metric that is computed otherwise in another fold.
    """

    def is_scored_fold(one: Result) -> bool:
        return _FOLD in one.params and bool(one.scores(kind))

    groups = _groups(_FOLD, results, conditions, is_scored_fold)
    members = [one for group in groups.values() for one in group]
    if not members:
        return []
    found = [(metric, _unlike_folds(kind, metric, members)) for metric in metrics]
    refusals += [refusal for _, refusal in found if refusal is not None]
    alike = [metric for metric, refusal in found if refusal is None]
    return _spreads("folds", groups, alike, lambda one: one.scores(kind))


def _unlike_folds(kind: str, metric: str, members: list[Result]) -> Refusal | None:
    """Why a metric has no mean over these runs; None where it has."""
    scored = [one for one in members if metric in one.scores(kind)]
    signatures = [one.scores(kind)[metric]["signature"] for one in scored]
    for one, theirs in zip(scored, signatures, strict=True):
        if theirs != signatures[0]:
            reason = unlike(scored[0].name, signatures[0], theirs)
            what = f"{kind} {measure(metric).name} over folds"
            return Refusal(what=what, name=one.name, reason=reason)
    return None


def _groups(
    key: str,
    results: Sequence[Result],
    conditions: list[Differing],
    is_meant: Callable[[Result], bool],
) -> dict[str, list[Result]]:
    """Label -> its runs, one for each value of a key; empty where no label has two."""
    if not any(row.name == key for row in conditions):
        return {}
    of: dict[tuple[str, ...], dict[str, Result]] = {}
    # The texts of another fold are others by themselves.
    left_out = (_FOLD, TEXTS) if key == _FOLD else (_SEED,)
    others = [row for row in conditions if row.name not in left_out]
    for place, one in enumerate(results):
        if one.params and is_meant(one):
            members = of.setdefault(tuple(row.values[place] for row in others), {})
            members.setdefault(one.params[key], one)
    if all(len(members) < 2 for members in of.values()):
        return {}
    return {_label(others, values): list(members.values()) for values, members in of.items()}


def _label(conditions: list[Differing], values: tuple[str, ...]) -> str:
    told = ", ".join(f"{row.name}={v}" for row, v in zip(conditions, values, strict=True))
    return told or "all runs"


def _spreads(
    over: Literal["seeds", "folds"],
    groups: dict[str, list[Result]],
    metrics: list[str],
    scores: Callable[[Result], dict[str, Score]],
) -> list[Spread]:
    found: list[Spread] = []
    for metric in metrics:
        for label, members in groups.items():
            seen = [scores(one)[metric]["value"] for one in members if metric in scores(one)]
            if seen:
                found.append(
                    Spread(
                        over=over,
                        label=label,
                        metric=metric,
                        values=seen,
                        mean=mean(seen),
                        deviation=stdev(seen) if len(seen) > 1 else math.nan,
                    )
                )
    return found

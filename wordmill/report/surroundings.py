"""What a report shows beside the scores: where they come from, how training went, what it cost.

Unlike scores.json it may tell of clocks and machines.
"""

from typing import Any, TypedDict

from wordmill.report.record import Curve, GenerationCost, StageCost


class Surroundings(TypedDict):
    """All of it; a part that is not known is empty."""

    title: str
    made_at: str
    """ISO 8601."""
    identity: dict[str, str]
    """`git commit`, `dirty`, `params`, `data`, `model`, `python`, `packages`, `mlflow run` ..."""
    stages: list[tuple[str, list[str]]]
    """The DAG: each stage and those that it reads from, in order."""
    params: dict[str, Any]
    """params.yaml."""
    clean: dict[str, Any]
    """data/clean/report.json."""
    tokens: dict[str, Any]
    """data/tokenize/report.json."""
    curves: list[Curve]
    training: list[StageCost]
    generation: list[GenerationCost]
    votes: list[dict[str, Any]]
    """Win rates: `a`, `b`, `wins_a`, `wins_b`, `ties`, `skips`, `rate`, `low`, `high`, `p`."""

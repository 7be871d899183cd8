"""What the gate's rules look at: both models on the same held-out sets, in one job."""

from dataclasses import dataclass, field

from wordmill.metrics.significance import Difference
from wordmill.report.measures import OURS
from wordmill.report.record import Bias, Memorization, Record, Scored

CHAMPION = "champion"
"""The name of the system that serves now, in records and reports."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A challenger's, and the champion's where there is one that can be loaded."""

    scores: dict[str, Scored]
    """kind -> system -> metric -> score; `finetuned` is the challenger."""
    primary: dict[str, str]
    """kind -> the metric that stands for it."""
    differences: dict[str, Difference] = field(default_factory=dict[str, Difference])
    """`KIND/METRIC` -> challenger's score minus champion's."""
    speeds: dict[str, float] = field(default_factory=dict[str, float])
    """system -> tokens/s; of those that wrote any."""
    num_bytes: int = 0
    """Of the challenger's folder."""
    bias: list[Bias] = field(default_factory=list[Bias])
    """Of the challenger."""
    memorization: list[Memorization] = field(default_factory=list[Memorization])
    """Of the challenger."""
    seed_deviation: float | None = None
    """What another seed alone changes in the primary score: a standard deviation."""
    changed: list[str] = field(default_factory=list[str])
    """What of the sets or the decoding is not as it was when the challenger was evaluated."""
    champion_error: str = ""
    """Why the champion can't be loaded."""


def from_record(record: Record, *, num_bytes: int, champion_error: str = "") -> Evidence:
    """What is known of a challenger that nobody is measured against.

    Args:
        record: of its evaluation.
        num_bytes: of its folder.
        champion_error: why the champion can't be scored, where there is one.
    """
    return Evidence(
        scores={"documents": record["documents"], **record["pairs"]},
        primary=record["primary"],
        num_bytes=num_bytes,
        bias=[one for one in record["bias"] if one["system"] == OURS],
        memorization=[one for one in record["memorization"] if one["system"] == OURS],
        champion_error=champion_error,
    )

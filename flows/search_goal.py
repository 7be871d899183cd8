"""What a search is after: one figure of an experiment's record, or of a training's validation.

Figures are compared where they mean the same: on the same held-out examples, by the same metric.
"""

import math
from dataclasses import dataclass
from typing import Any

from flows.experiment_record import Remembered
from wordmill.errors import DataError, ParamsError
from wordmill.report.measures import MEASURES, measure
from wordmill.tasks import TASKS, Task, deciding_task

_CURVES = {"loss": 1, "bits_per_byte": 2}
"""Column of a curve, by what it is called."""
_STAGES = ("pretrain", "finetune")
# Which stage's output has to be the same for two curves to be of the same texts.
_COUNTED_IN = {"loss": "tokenize", "bits_per_byte": "clean"}


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A figure."""

    kind: str
    """`documents`, a task, or a stage that trains."""
    metric: str

    @property
    def name(self) -> str:
        """As it is typed."""
        return f"{self.kind}/{self.metric}"

    @property
    def is_of_curve(self) -> bool:
        """Whether it is the best of a stage's validations."""
        return self.kind in _STAGES

    @property
    def is_higher_better(self) -> bool:
        """Which way it points."""
        return not self.is_of_curve and measure(self.metric).better == "higher"

    def words(self, value: float) -> str:
        """A value in words."""
        return f"{value:.4f}" if self.metric == "loss" else measure(self.metric).words(value)

    def value(self, one: Remembered) -> float:
        """What an experiment has reached.

        Raises:
            DataError: its record has no such figure.
        """
        column = _CURVES.get(self.metric, 0)
        found = [
            value
            for point in one.curves.get(self.kind, [])
            if self.is_of_curve and (value := point[column]) is not None
        ]
        if self.is_of_curve and found:
            return min(found)
        figure = one.figures.get(self.kind, {}).get(self.metric)
        if figure is None:
            raise DataError(f"--goal {self.name}: {one.name} has no such figure; {_there(one)}")
        return float(figure["value"])

    def yardstick(self, one: Remembered) -> str:
        """What two experiments must have in common for this figure of them to be compared."""
        if self.is_of_curve:
            return f"output of {_COUNTED_IN[self.metric]} {one.outputs[_COUNTED_IN[self.metric]]}"
        signature = one.figures[self.kind][self.metric]["signature"]
        return f"examples {one.sets.get(self.kind, '')}, {signature}"


def goal_of(asked: str | None, values: dict[str, Any]) -> Goal:
    """The goal that is asked for, or the primary metric of what params.yaml trains.

    Args:
        asked: such as `summarize/rougeL`; None takes the first task, or documents if there is none.
        values: params.yaml, checked.

    Raises:
        ParamsError: it is none.
    """
    if asked is None:
        from wordmill.metrics.pairs import PRIMARY  # scipy and others, 0.3 s

        kind = _first_task(values)
        return Goal(kind=kind, metric=PRIMARY[kind])
    kind, _, metric = asked.partition("/")
    kinds = ("documents", *TASKS)
    if kind in _STAGES and metric in _CURVES:
        return Goal(kind=kind, metric=metric)
    if kind not in (*kinds, *_STAGES):
        raise ParamsError(f"--goal {asked}: must be KIND/METRIC; kinds: {_list(*kinds, *_STAGES)}")
    allowed = list(_CURVES) if kind in _STAGES else [m for m in MEASURES if _points(m)]
    if metric not in allowed:
        raise ParamsError(f"--goal {asked}: unknown metric; allowed: {_list(*allowed)}")
    return Goal(kind=kind, metric=metric)


def is_usable(value: float) -> bool:
    """Whether a figure is a number to compare by."""
    return math.isfinite(value)


def _points(metric: str) -> bool:
    return MEASURES[metric].better in ("lower", "higher")


def _first_task(values: dict[str, Any]) -> str:
    tasks = {_task(source) for source in values["ingest"]["sources"]}
    return deciding_task(tasks) or "documents"


def _task(source: dict[str, Any]) -> Task:
    match source["kind"]:
        case "python-docs":
            return "summarize"
        case "parallel":
            return "translate"
        case _:
            return source.get("columns", {}).get("task", "write")


def _there(one: Remembered) -> str:
    found = [f"{kind}/{metric}" for kind, of in one.figures.items() for metric in of]
    curves = [f"{stage}/{name}" for stage in one.curves for name in _CURVES]
    return f"there are {_list(*found, *curves)}"


def _list(*names: str) -> str:
    return ", ".join(names)

"""The memory of a search: a study of Optuna's in a SQLite file, which outlives any kill.

Each trial's draw depends on the seed, the trial's number and what was told before, not on when the
process began: a search that is killed and goes on draws what it would have drawn.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from flows.grid import short_hash
from flows.search_axes import Range, SearchAxis
from wordmill.files import replaced_file

How = Literal["random", "bayes"]
Outcome = Literal["running", "done", "pruned", "failed"]

_WHY, _NAME, _CUT = "why", "experiment", "cut"
_YARDSTICK = "yardstick"
_OUTCOMES: dict[TrialState, Outcome] = {
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "done",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One draw and what came of it."""

    number: int
    """Optuna's, from 0 on."""
    drawn: dict[str, Any]
    """Key -> number, or place in the list."""
    outcome: Outcome
    value: float | None
    why: str
    """Why it was pruned or failed."""
    experiment: str
    """Its name, where it had one."""


class Study:
    """Trials in a file.

    Args:
        file: of SQLite.
        name: what the trials have in common; another name is another study in the same file.
        axes: what is drawn from.
        how: at random, or by a model of what was good (TPE).
        seed: of the draws.
        is_higher_better: of the figure that is told.
    """

    def __init__(
        self,
        file: Path,
        name: str,
        axes: list[SearchAxis],
        *,
        how: How,
        seed: int,
        is_higher_better: bool,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._how: How = how
        self._seed = seed
        self._distributions = {axis.key: _distribution(axis) for axis in axes}
        if not file.exists():
            _make(file)
        self._storage = RDBStorage(f"sqlite:///{file.resolve()}")
        self._study = optuna.create_study(
            storage=self._storage,
            study_name=name,
            direction="maximize" if is_higher_better else "minimize",
            load_if_exists=True,
        )
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if trial.params.keys() != self._distributions.keys():  # killed while it was drawn
                self._tell(trial.number, _CUT, "true")
                self._study.tell(trial.number, state=TrialState.FAIL)

    def trials(self) -> list[Trial]:
        """All that were drawn, in order."""
        found = self._study.get_trials(deepcopy=False)
        return [self._trial(one) for one in found if _CUT not in one.user_attrs]

    def ask(self) -> Trial:
        """Draw another one."""
        number = len(self._study.get_trials(deepcopy=False))
        self._study.sampler = _sampler(self._how, seed=_mixed(self._seed, number))
        asked = self._study.ask(self._distributions)
        return self._trial(self._study.trials[asked.number])

    def called(self, number: int, name: str) -> None:
        """Remember the experiment that a trial is."""
        self._tell(number, _NAME, name)

    def done(self, number: int, value: float) -> None:
        """Tell what a trial has reached."""
        self._study.tell(number, value)

    def pruned(self, number: int, why: str) -> None:
        """Tell that a trial was ended, and why."""
        self._tell(number, _WHY, why)
        self._study.tell(number, state=TrialState.PRUNED)

    def failed(self, number: int, why: str) -> None:
        """Tell that a trial has no figure, and why."""
        self._tell(number, _WHY, why)
        self._study.tell(number, state=TrialState.FAIL)

    def measured_by(self, yardstick: str) -> str:
        """What the first figure was measured by, which is this one if there was none."""
        known = self._study.user_attrs.get(_YARDSTICK)
        if known is None:
            self._study.set_user_attr(_YARDSTICK, yardstick)
        return str(known or yardstick)

    def close(self) -> None:
        """Let the file go."""
        _close(self._storage)

    def _trial(self, found: FrozenTrial) -> Trial:
        drawn = {
            key: _place(self._distributions[key], value) for key, value in found.params.items()
        }
        return Trial(
            number=found.number,
            drawn=drawn,
            outcome=_OUTCOMES[found.state],
            value=found.value if found.state == TrialState.COMPLETE else None,
            why=found.user_attrs.get(_WHY, ""),
            experiment=found.user_attrs.get(_NAME, ""),
        )

    def _tell(self, number: int, key: str, value: str) -> None:
        # Past optuna.Trial, which only whoever drew it has, and not who resumes it.
        trial_id = self._study.trials[number]._trial_id
        self._storage.set_trial_user_attr(trial_id, key, value)


def _make(file: Path) -> None:
    """A file with Optuna's tables, whole or not at all."""
    with replaced_file(file) as partial:
        _close(RDBStorage(f"sqlite:///{partial.resolve()}"))


def _close(storage: RDBStorage) -> None:
    storage.remove_session()
    storage.engine.dispose()


def _distribution(axis: SearchAxis) -> BaseDistribution:
    if not isinstance(axis, Range):
        # Lists and nothing are values here, and none of Optuna's: it is given their words.
        return CategoricalDistribution([json.dumps(value) for value in axis.values])
    if axis.is_whole:
        return IntDistribution(int(axis.low), int(axis.high), log=axis.is_log)
    return FloatDistribution(axis.low, axis.high, log=axis.is_log)


def _place(distribution: BaseDistribution, value: Any) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices.index(value)
    return value


def _sampler(how: How, *, seed: int) -> BaseSampler:
    return RandomSampler(seed=seed) if how == "random" else TPESampler(seed=seed)


def _mixed(seed: int, number: int) -> int:
    return int(short_hash([seed, number])[:8], 16)

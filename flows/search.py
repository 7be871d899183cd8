"""`wordmill experiment --search`: trials, drawn one by one, each an experiment as in a grid.

The study remembers every draw and what came of it before the next one is made, and an experiment
is remembered as in a grid: after any end the same command goes on, and asks for no trial twice.
"""

import importlib.util
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.experiment_record import Point, Remembered, recall, recall_all, remember
from flows.experiment_running import (
    Planned,
    check_jobs,
    checked_name,
    dvc_cache,
    only_runner,
    planned,
    run_all,
)
from flows.experiment_space import EXPERIMENTS, Snapshot, make_workspace, snapshot
from flows.grid import changed, short_hash
from flows.search_axes import Range, SearchAxis, check_together, combination, search_axes
from flows.search_goal import Goal, goal_of, is_usable
from flows.search_table import best_trial, dry_words, search_table
from flows.workspace import PARAMS
from wordmill.errors import DataError, ParamsError, TryAgainError
from wordmill.params.everything import Params
from wordmill.params.section import parse_params, read_params

if TYPE_CHECKING:
    from flows.experiment_tracking import GridRuns
    from flows.search_study import How, Study, Trial

_LOOK_SECONDS = 2.0
_STUDY = "study.db"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A search as it is asked for."""

    name: str
    how: "How"
    num_trials: int
    goal: Goal
    axes: list[SearchAxis]
    values: dict[str, Any]
    """params.yaml."""
    is_pruned: bool


def search(
    asked: list[str],
    *,
    how: "How",
    num_trials: int,
    goal: str | None,
    is_pruned: bool,
    jobs: int,
    name: str | None,
    is_dry: bool,
) -> int:
    """Run a search, or what is left of it, and return the exit status.

    Args:
        asked: such as `pretrain.lr=1e-4..1e-2:log`.
        how: at random, or by a model of what was good.
        num_trials: in all, those of earlier starts among them.
        goal: such as `summarize/rougeL`; None takes the run's primary metric.
        is_pruned: whether a trial ends that trains worse than the median of others.
        jobs: trials at once.
        name: of the search; None makes one from what is asked.
        is_dry: only say what would run.

    Raises:
        ParamsError: what is asked is wrong, Optuna is missing, or there is no commit to stand on.
        DataError: the record has no such figure.
        TryAgainError: this search is at work already, or MLflow does not answer.
    """
    check_jobs(jobs)
    plan = _plan(asked, how=how, num_trials=num_trials, goal=goal, name=name, is_pruned=is_pruned)
    taken = snapshot(_every_value(plan))
    if is_dry:
        done = [one for one in recall_all(EXPERIMENTS / plan.name) if one.status == "done"]
        print(dry_words(plan.name, plan.how, plan.num_trials, plan.goal, plan.axes, len(done)))
        return 0
    from flows.experiment_tracking import GridRuns  # 3 s, which mistakes need not wait for

    folder = EXPERIMENTS / plan.name
    with only_runner(folder):
        runs = GridRuns(folder, asked)
        runs.tag(None, {"wordmill.search": plan.how, "wordmill.goal": plan.goal.name})
        study = _study(folder, plan, taken)
        trials = _Trials(plan, taken, study=study, runs=runs)
        try:
            run_all(trials, jobs=min(jobs, plan.num_trials))
        except BaseException:
            runs.end("KILLED")
            raise
        finally:
            found = study.trials()
            study.close()
        trials.tag_best(found)
        runs.end("FINISHED" if all(one.outcome != "running" for one in found) else "FAILED")
    print(search_table(plan.name, plan.goal, plan.axes, found, plan.values))
    return trials.exit_status(found)


def _plan(
    asked: list[str],
    *,
    how: "How",
    num_trials: int,
    goal: str | None,
    name: str | None,
    is_pruned: bool,
) -> Plan:
    if num_trials < 1:
        raise ParamsError(f"--trials {num_trials}: must be 1 or more")
    if importlib.util.find_spec("optuna") is None:
        raise ParamsError(
            "--search needs optuna; run `pip install 'wordmill[search]'` (in a clone:"
            " `pip install -e '.[search]'`)"
        )
    values = read_params(PARAMS)
    parse_params(Params, values, file=PARAMS)
    found = goal_of(goal, values)
    key = short_hash([asked, how, found.name, is_pruned])[:6]
    return Plan(
        name=checked_name(name or f"search-{key}"),
        how=how,
        num_trials=num_trials,
        goal=found,
        axes=search_axes(asked, values),
        values=values,
        is_pruned=is_pruned,
    )


def _every_value(plan: Plan) -> list[dict[str, Any]]:
    """params.yaml with each choice alone: a path among them is linked into every workspace."""
    lists = [axis for axis in plan.axes if not isinstance(axis, Range)]
    choices = [(axis.key, value) for axis in lists for value in axis.values]
    return [plan.values, *(changed(plan.values, {key: value}) for key, value in choices)]


def _study(folder: Path, plan: Plan, taken: Snapshot) -> "Study":
    from flows.search_study import Study  # Optuna, 1 s

    # What is another search: what it draws from and how, what it is after, code, data and params.
    described = [repr(axis) for axis in plan.axes]
    key = [taken.key, plan.values, described, plan.how, plan.goal.name, plan.is_pruned]
    return Study(
        folder / _STUDY,
        short_hash(key),
        plan.axes,
        how=plan.how,
        seed=plan.values["seed"],
        is_higher_better=plan.goal.is_higher_better,
    )


class _Trials:
    """Gives out trials, tells the study what they came to, and ends those that lag behind."""

    def __init__(self, plan: Plan, taken: Snapshot, *, study: "Study", runs: "GridRuns") -> None:
        self.total = plan.num_trials
        self._plan, self._taken, self._study, self._runs = plan, taken, study, runs
        self._cache = dvc_cache()
        known = study.trials()
        self._again = [one for one in known if one.outcome == "running"]
        self._num_drawn = len(known)
        self._shared: dict[str, list[Trial]] = {}  # an experiment's key -> the trials that are it
        self._looked_at: dict[int, float] = {}
        self._judged: dict[int, dict[str, list[Point]]] = {}
        self._failures: list[Remembered] = []
        told = f"{plan.name}: {plan.num_trials} trials for {plan.goal.name}"
        print(f"{told}, {len(known) - len(self._again)} done before", flush=True)

    def next(self) -> Planned | None:
        """The next trial that needs a process; others are told at once."""
        while (trial := self._next_trial()) is not None:
            one = combination(trial.drawn, self._plan.axes, self._plan.values)
            try:
                check_together(one)
            except ParamsError as error:
                self._fail(trial, str(error).replace("\n", "; "))
                continue
            found = planned(
                trial.number + 1, one, group_name=self._plan.name, taken_key=self._taken.key
            )
            self._study.called(trial.number, found.remembered.name)
            if found.remembered.key in self._shared:  # another trial that runs now drew the same
                self._shared[found.remembered.key].append(trial)
            elif self._is_told(found.remembered):
                self._tell(found.remembered, [trial])
            else:
                self._shared[found.remembered.key] = [trial]
                return self._prepared(found)
        return None

    def why_end(self, one: Planned) -> str:
        """Whether a trial trains worse than most, looked at every few seconds."""
        now = time.monotonic()
        if not self._plan.is_pruned or now - self._looked_at.get(one.number, 0.0) < _LOOK_SECONDS:
            return ""
        self._looked_at[one.number] = now
        curves = self._runs.curves_of(one.remembered.run_id or "")
        if curves == self._judged.get(one.number, {}):
            return ""
        self._judged[one.number] = curves
        reasons = (self._why_hopeless(one, stage, curve) for stage, curve in curves.items())
        return next((reason for reason in reasons if reason), "")

    def ended(self, one: Planned) -> None:
        """Tell the study of a trial and of those that drew the same."""
        self._tell(one.remembered, self._shared.pop(one.remembered.key))

    def tag_best(self, trials: list["Trial"]) -> None:
        """Name the best in MLflow."""
        if best := best_trial(trials, self._plan.goal):
            self._runs.tag(None, {"wordmill.best": best.experiment})

    def exit_status(self, trials: list["Trial"]) -> int:
        """0 if the search came to its end and anything came of it."""
        if any(one.outcome == "running" for one in trials):
            return TryAgainError.exit_status
        if any(one.outcome == "done" for one in trials):
            return 0
        return next((one.exit_status or 1 for one in self._failures), DataError.exit_status)

    def _next_trial(self) -> "Trial | None":
        if self._again:
            return self._again.pop(0)
        if self._num_drawn >= self._plan.num_trials:
            return None
        self._num_drawn += 1
        return self._study.ask()

    def _is_told(self, one: Remembered) -> bool:
        """Whether an experiment needs no process: another trial drew the same before."""
        return one.status == "done" or (one.status == "pruned" and self._plan.is_pruned)

    def _prepared(self, found: Planned) -> Planned:
        remembered = found.remembered
        remembered.status = "begun"
        remembered.run_id = self._runs.run_of(remembered)
        self._runs.tag(remembered.run_id, {"wordmill.trial": str(found.number)})
        remember(found.memory, remembered)
        if not found.place.exists():
            make_workspace(found.place, found.one, self._taken, cache=self._cache)
        return found

    def _tell(self, one: Remembered, trials: list["Trial"]) -> None:
        for trial in trials:
            if one.status == "done":
                self._tell_figure(one, trial)
            elif one.status == "pruned":
                self._runs.pruned(one.run_id or "", one.message)
                self._study.pruned(trial.number, one.message)
            elif one.exit_status != TryAgainError.exit_status:  # else the next start tries again
                self._failures.append(one)
                self._study.failed(trial.number, one.message)

    def _tell_figure(self, one: Remembered, trial: "Trial") -> None:
        goal = self._plan.goal
        value, mine = goal.value(one), goal.yardstick(one)
        theirs = self._study.measured_by(mine)
        if mine != theirs:
            self._study.failed(trial.number, f"measured on {mine}, and the others on {theirs}")
        elif not is_usable(value):
            self._study.failed(trial.number, f"{goal.name} is {value}")
        else:
            self._study.done(trial.number, value)

    def _fail(self, trial: "Trial", why: str) -> None:
        print(f"  {trial.number + 1}/{self.total}: not run: {why}", flush=True)
        self._study.failed(trial.number, why)

    def _why_hopeless(self, one: Planned, stage: str, curve: list[Point]) -> str:
        from flows.search_pruning import comparable_by, why_hopeless

        mine = comparable_by(stage, recall(one.memory) or one.remembered, one.one.values)
        if mine is None:
            return ""
        others: dict[str, list[Point]] = {}  # what was drawn twice counts once
        for trial in self._study.trials():
            if trial.outcome == "done" and trial.experiment not in others:
                other = combination(trial.drawn, self._plan.axes, self._plan.values)
                found = planned(
                    0, other, group_name=self._plan.name, taken_key=self._taken.key
                ).remembered
                whole = found.curves.get(stage)
                if whole and comparable_by(stage, found, other.values) == mine:
                    others[trial.experiment] = whole
        return why_hopeless(stage, curve, list(others.values()))

"""What a search says: before it runs, and when it has ended."""

from typing import TYPE_CHECKING, Any

from flows.experiment_table import table
from flows.grid import label_of
from flows.grid_axes import words
from flows.search_axes import SearchAxis, combination, told
from flows.search_goal import Goal

if TYPE_CHECKING:
    from flows.search_study import Trial

_MAX_WHY = 60


def search_table(
    name: str, goal: Goal, axes: list[SearchAxis], trials: list["Trial"], values: dict[str, Any]
) -> str:
    """Each trial's values and figure, the best one, and what is next.

    Args:
        name: of the search.
        goal: what it was after.
        axes: what it drew from.
        trials: all of them.
        values: params.yaml.
    """
    rows = [["trial", "experiment", *(axis.key for axis in axes), goal.name, "state"]]
    for one in trials:
        changes = combination(one.drawn, axes, values).changes
        figure = "–" if one.value is None else goal.words(one.value)
        cells = [words(changes[axis.key]) for axis in axes]
        why = one.why if len(one.why) <= _MAX_WHY else f"{one.why[: _MAX_WHY - 1]}…"
        state = f"{one.outcome}: {why}" if why else one.outcome
        rows.append([str(one.number + 1), one.experiment or "–", *cells, figure, state])
    return "\n".join(("", table(rows), "", *_next(name, goal, axes, trials, values), ""))


def best_trial(trials: list["Trial"], goal: Goal) -> "Trial | None":
    """The trial with the best figure, the first of those that tie; None if none has one."""
    done = [(one.value, one) for one in trials if one.value is not None]
    sign = -1.0 if goal.is_higher_better else 1.0
    return min(done, key=lambda found: (sign * found[0], found[1].number), default=(0, None))[1]


def dry_words(
    name: str, how: str, num_trials: int, goal: Goal, axes: list[SearchAxis], num_done: int
) -> str:
    """What would run."""
    way = "higher" if goal.is_higher_better else "lower"
    rows = [["key", "drawn from"], *([axis.key, told(axis)] for axis in axes)]
    return "\n".join(
        (
            f"{name}: {num_trials} trials ({how}) for {goal.name}, {way} is better; {num_done}"
            " experiments done before",
            "",
            table(rows),
            "",
            "Without --dry-run it begins.",
        )
    )


def _next(
    name: str, goal: Goal, axes: list[SearchAxis], trials: list["Trial"], values: dict[str, Any]
) -> list[str]:
    counts = {o: sum(one.outcome == o for one in trials) for o in ("done", "pruned", "failed")}
    counted = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
    left = [one for one in trials if one.outcome == "running"]
    lines = [f"{len(trials)} trials: {counted or 'none done'}"]
    if left:
        lines.append(f"{len(left)} did not come to an end; type the same command again.")
    best = best_trial(trials, goal)
    if best is None or best.value is None:
        return [*lines, "None has a figure: see what the first one says, mend it, and try again."]
    label = label_of(combination(best.drawn, axes, values).changes)
    lines.append(f"best: {best.experiment}, {goal.name} {goal.words(best.value)} ({label})")
    if not goal.is_of_curve:
        lines += [
            "It is the best of several on the very examples that chose it, and looks better than",
            "it is: score it on others before you believe the figure (docs/experiments.md).",
        ]
    return [
        *lines,
        "Next:",
        f"  dvc exp apply {best.experiment:27} bring it into params.yaml and data/",
        f"  wordmill compare {name:24} all that are done beside each other",
        "  make ui                                   the runs, under one parent",
    ]

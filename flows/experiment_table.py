"""What a grid says: before it runs, and when it has ended."""

from collections.abc import Sequence
from statistics import mean, stdev

from flows.experiment_record import Remembered
from flows.grid import FOLD, SEED
from flows.grid_axes import words
from wordmill.report.measures import measure
from wordmill.report.run_story import duration


def done_table(grid: str, results: list[Remembered]) -> str:
    """Each experiment's own values, its primary scores with intervals, its time; what is next."""
    keys = list(dict.fromkeys(key for one in results for key in one.changes))
    columns = list(
        dict.fromkeys((kind, s["metric"]) for one in results for kind, s in one.scores.items())
    )
    heads = [f"{kind} {measure(metric).title}" for kind, metric in columns]
    rows = [["experiment", *keys, *heads, "time"]]
    for one in results:
        values = [words(one.changes[key]) for key in keys]
        scores = [_score(one, kind) for kind, _ in columns]
        rows.append([one.name, *values, *scores, _time(one)])
    return "\n".join(("", table(rows), "", *_spreads(results), _next(grid, results), ""))


def dry_table(grid: str, results: list[Remembered], keys: list[dict[str, str]]) -> str:
    """What would run: the grid, and how often each stage at most.

    Args:
        grid: its name.
        results: what is known of each experiment.
        keys: stage -> what its work is known by, for each experiment.
    """
    names = list(dict.fromkeys(key for one in results for key in one.changes))
    rows = [["experiment", *names, "state"]]
    rows += [
        [one.name, *(words(one.changes[key]) for key in names), _state(one)] for one in results
    ]
    stages = list(keys[0])
    counts = {stage: len({one[stage] for one in keys}) for stage in stages}
    most, total = sum(counts.values()), len(stages) * len(results)
    lines = [
        f"{grid}: {len(results)} experiments of {len(stages)} stages, {total} runs of a stage, of"
        f" which {most} at most are made and {total - most} shared",
        "",
        table(rows),
        "",
        table([["stage", "runs at most"], *([s, str(n)] for s, n in counts.items())]),
        "",
        "Where a stage makes the same from other params, the stages after it run once too; what",
        "DVC's cache holds from before is not made again. Without --dry-run it begins.",
    ]
    return "\n".join(lines)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns that stand under each other, two spaces apart."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join((lines[0], "  ".join("-" * width for width in widths), *lines[1:]))


def _score(one: Remembered, kind: str) -> str:
    found = one.scores.get(kind)
    if found is None:
        return "–"
    how = measure(found["metric"])
    return f"{how.words(found['value'])} [{how.words(found['low'])}, {how.words(found['high'])}]"


def _spreads(results: list[Remembered]) -> list[str]:
    """Mean and standard deviation over folds, or over seeds where there are none."""
    done = [one for one in results if one.status == "done"]
    for key, name in ((FOLD, "folds"), (SEED, "seeds")):
        if len({one.changes.get(key) for one in done}) > 1:
            return [*_spread_table(done, key, name), ""]
    return []


def _spread_table(done: list[Remembered], key: str, name: str) -> list[str]:
    keys = [k for k in dict.fromkeys(k for one in done for k in one.changes) if k != key]
    groups: dict[tuple[str, ...], list[Remembered]] = {}
    for one in done:
        groups.setdefault(tuple(words(one.changes[k]) for k in keys), []).append(one)
    columns = list(
        dict.fromkeys((kind, s["metric"]) for one in done for kind, s in one.scores.items())
    )
    heads = [f"{kind} {measure(metric).title}" for kind, metric in columns]
    rows = [[*keys, name, *heads]]
    for values, members in groups.items():
        cells = [_mean(members, kind) for kind, _ in columns]
        rows.append([*values, str(len(members)), *cells])
    return [f"over {name}: mean ± standard deviation", "", table(rows)]


def _mean(members: list[Remembered], kind: str) -> str:
    scores = [one.scores[kind] for one in members if kind in one.scores]
    if len({(score["metric"], score["signature"]) for score in scores}) != 1:
        return "–"  # none, or scores that mean different things
    values, how = [score["value"] for score in scores], measure(scores[0]["metric"])
    if len(values) == 1:
        return how.words(values[0])
    return f"{how.words(mean(values))} ± {how.words(stdev(values))}"


def _time(one: Remembered) -> str:
    return duration(one.seconds) if one.status == "done" else one.status


def _state(one: Remembered) -> str:
    if one.status == "begun" and not one.stages:
        return "to do"
    if one.status == "done":
        return "done"
    return f"{one.status}, {len(one.stages)} stages done"


def _next(grid: str, results: list[Remembered]) -> str:
    if failed := [one for one in results if one.status != "done"]:
        first = failed[0]
        return (
            f"{len(failed)} of {len(results)} failed; the first: {first.name}: {first.message}\n"
            "Mend it and type the same command again: what is done stays done."
        )
    return "\n".join(
        (
            "Next:",
            f"  wordmill compare {grid:24} all of them, seeds and folds as error bars",
            f"  dvc exp apply {results[0].name:27} bring one into params.yaml and data/",
            "  make ui                                   the runs, under one parent",
        )
    )

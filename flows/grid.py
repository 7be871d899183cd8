"""What an experiment is made of: combinations of params, folds and seeds, checked before they run.

Nothing here touches a file or a process.
"""

import hashlib
import json
from copy import deepcopy
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from flows.grid_axes import Axis, axes_of, words
from wordmill.errors import ParamsError
from wordmill.params.everything import Params
from wordmill.params.section import parse_params

SEED, FOLD = "seed", "ingest.fold"
_TEST_FRACTION = "ingest.test_fraction"
_MOST = 1000


@dataclass(frozen=True, kw_only=True)
class Combination:
    """One experiment's params."""

    changes: dict[str, Any]
    """Dotted key -> value, of the axes."""
    values: dict[str, Any]
    """All of params.yaml."""

    @property
    def label(self) -> str:
        """The values of the axes, in words."""
        return label_of(self.changes)


def combinations(
    asked: list[str],
    *,
    num_seeds: int | None,
    values: dict[str, Any],
    num_folds: int | None = None,
) -> list[Combination]:
    """The product of all axes, checked.

    Args:
        asked: such as `pretrain.lr=1e-3,3e-4`.
        num_seeds: how many seeds from that of `values` on; None leaves the seed alone.
        num_folds: of cross-validation; None leaves the test set alone.
        values: params.yaml.

    Raises:
        ParamsError: with a line for each problem.
    """
    axes = _axes(asked, num_seeds=num_seeds, num_folds=num_folds, values=values)
    grid = [
        {axis.key: value for axis, value in zip(axes, chosen, strict=True)}
        for chosen in product(*(axis.values for axis in axes))
    ]
    if len(grid) > _MOST:
        raise ParamsError(
            f"{len(grid):,} experiments; at most {_MOST:,} at once: give fewer values"
        )
    found = [Combination(changes=changes, values=changed(values, changes)) for changes in grid]
    _check(found)
    return found


def changed(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy of nested values with other ones under some dotted keys."""
    copy = deepcopy(values)
    for key, value in changes.items():
        *parents, last = key.split(".")
        inner = copy
        for part in parents:
            inner = inner[part]
        inner[last] = value
    return copy


def nested(changes: dict[str, Any]) -> dict[str, Any]:
    """Dotted keys as sections, as a preset has them."""
    found: dict[str, Any] = {}
    for key, value in changes.items():
        *parents, last = key.split(".")
        inner = found
        for part in parents:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return found


def label_of(changes: dict[str, Any]) -> str:
    """Such as `pretrain.lr=0.001, seed=7`."""
    return ", ".join(f"{key}={words(value)}" for key, value in changes.items()) or "as it is"


def stage_key(
    name: str, *, dag: dict[str, Any], values: dict[str, Any], made: dict[str, str]
) -> str:
    """What a stage's work is known by within a grid, where code and raw data are the same.

    Args:
        name: of the stage.
        dag: dvc.yaml.
        values: params.yaml.
        made: what stands for the output of each stage: its hash, or its own key.
    """
    stage = dag["stages"][name]
    reads = {other: made[other] for other in needs(name, dag)}
    params = {key: at(values, key) for key in stage["params"]}
    return short_hash([name, stage["cmd"], params, reads])


def needs(name: str, dag: dict[str, Any]) -> list[str]:
    """The stages whose outputs a stage reads."""
    deps = [Path(dep) for dep in dag["stages"][name]["deps"]]
    return [
        other
        for other, stage in dag["stages"].items()
        if other != name
        and any(Path(out) in (dep, *dep.parents) for out in stage["outs"] for dep in deps)
    ]


def planned_keys(
    order: list[str], *, dag: dict[str, Any], values: dict[str, Any]
) -> dict[str, str]:
    """Each stage's key as far as it is known before anything ran."""
    made: dict[str, str] = {}
    for name in order:
        made[name] = stage_key(name, dag=dag, values=values, made=made)
    return made


def short_hash(value: Any) -> str:
    """A hash of plain values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def at(values: Any, dotted: str) -> Any:
    """The value under a dotted key."""
    for part in dotted.split("."):
        values = values[part]
    return values


def _axes(
    asked: list[str], *, num_seeds: int | None, num_folds: int | None, values: dict[str, Any]
) -> list[Axis]:
    axes, problems = axes_of(asked, values)
    keys = {axis.key for axis in axes}
    if num_seeds is not None and num_seeds < 1:
        problems.append(f"--seeds {num_seeds}: must be 1 or more")
    if num_seeds is not None and SEED in keys:
        problems.append("--seeds and -S seed: give one of them")
    if num_folds is not None and num_folds < 2:
        problems.append(f"--folds {num_folds}: must be 2 or more")
    if num_folds is not None and FOLD in keys:
        problems.append(f"--folds and -S {FOLD}: give one of them")
    if num_folds is not None and _TEST_FRACTION in keys:
        problems.append(f"--folds and -S {_TEST_FRACTION}: a fold's test set is 1/{num_folds}")
    if problems:
        raise ParamsError("\n".join(problems))
    if num_folds is not None:
        folds = [f"{i} of {num_folds}" for i in range(1, num_folds + 1)]
        axes.append(Axis(key=FOLD, values=folds))
    if num_seeds is not None:
        first = values[SEED]
        axes.append(Axis(key=SEED, values=[first + i for i in range(num_seeds)]))
    return axes


def _check(found: list[Combination]) -> None:
    """All that is wrong with any combination, a problem of several once."""
    file = Path("params.yaml")
    where: dict[str, list[str]] = {}
    for one in found:
        try:
            parse_params(Params, one.values, file=file)
        except ParamsError as error:
            for line in str(error).splitlines():
                where.setdefault(line.removeprefix(f"{file}: "), []).append(one.label)
    if where:
        lines = [
            f"{labels[0]}: {line}"
            + (f" (and {len(labels) - 1} more of {len(found)})" if len(labels) > 1 else "")
            for line, labels in where.items()
        ]
        raise ParamsError("\n".join(lines))

"""What an experiment is made of: combinations of params, folds and seeds, checked before they run.

Nothing here touches a file or a process. A value is read as YAML 1.2, as DVC reads it, and becomes
the type that the key has in params.yaml.
"""

import difflib
import hashlib
import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from wordmill.errors import ParamsError
from wordmill.params.everything import Params
from wordmill.params.section import parse_params

SEED, FOLD = "seed", "ingest.fold"
_TEST_FRACTION = "ingest.test_fraction"
_OPENING, _CLOSING, _QUOTES = "[{", "]}", "\"'"
_MOST = 1000


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A key of params.yaml and the values it takes."""

    key: str
    values: list[Any]


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


def words(value: Any) -> str:
    """A value as a person writes it."""
    if value is None or isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False)
    return f"{value:g}" if isinstance(value, float) else str(value)


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


def axes_of(asked: list[str], values: dict[str, Any]) -> tuple[list[Axis], list[str]]:
    """The axes as they are typed, and a line for each that is wrong."""
    problems: list[str] = []
    axes: list[Axis] = []
    for text in asked:
        try:
            axes.append(_axis(text, values))
        except ParamsError as error:
            problems.append(str(error))
    keys = [axis.key for axis in axes]
    problems += [f"-S {key}: given twice" for key in dict.fromkeys(keys) if keys.count(key) > 1]
    return axes, problems


def _axis(text: str, values: dict[str, Any]) -> Axis:
    key, sign, given = text.partition("=")
    key = key.strip()
    if not sign or not key:
        raise ParamsError(f"-S {text}: must be KEY=VALUE or KEY=VALUE,VALUE")
    now = _value_now(key, values)
    texts = [part.strip() for part in _parts(given)]
    if "" in texts:
        raise ParamsError(f"-S {text}: a value is empty; null says none, '' an empty text")
    found = [_typed(part, now, key=key) for part in texts]
    if doubled := [one for i, one in enumerate(found) if one in found[:i]]:
        raise ParamsError(f"-S {key}: {words(doubled[0])} is given twice")
    return Axis(key=key, values=found)


def _value_now(key: str, values: dict[str, Any]) -> Any:
    inner: Any = values
    parts = key.split(".")
    for i, part in enumerate(parts):
        if not isinstance(inner, dict) or part not in inner:
            raise ParamsError(f"-S {key}: unknown key; {_hint(parts, i, inner, values)}")
        inner = inner[part]
    if isinstance(inner, dict):
        raise ParamsError(f"-S {key}: holds keys; name one, such as {key}.{next(iter(inner))}")
    return inner


def _hint(parts: list[str], i: int, inner: Any, values: dict[str, Any]) -> str:
    key, beside = ".".join(parts), ".".join(parts[:i])
    if near := difflib.get_close_matches(key, list(_leaf_keys(values)), n=1, cutoff=0.75):
        return f"did you mean '{near[0]}'?"
    if not isinstance(inner, dict):
        return f"{beside} has no keys"
    if same := [leaf for leaf in _leaf_keys(values) if leaf.endswith(f".{key}")]:
        return f"did you mean '{same[0]}'?"
    return f"allowed{f' in {beside}' if beside else ''}: {', '.join(inner)}"


def _leaf_keys(values: dict[str, Any], before: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _leaf_keys(value, f"{before}{name}.")
        else:
            yield f"{before}{name}"


def _parts(text: str) -> list[str]:
    """A list's values: commas part them, but for those in brackets and quotes."""
    found, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in _QUOTES and (depth or not found[-1].strip()):  # not that of «don't»
            quote = letter
        depth += 0 if quote else (letter in _OPENING) - (letter in _CLOSING)
        if letter == "," and depth <= 0 and not quote:
            found.append("")
        else:
            found[-1] += letter
    return found


def _typed(text: str, now: Any, *, key: str) -> Any:
    try:
        value = YAML(typ="safe").load(text)
    except YAMLError:
        if isinstance(now, str):
            return text
        raise ParamsError(f"-S {key}: not valid YAML: {text}") from None
    if isinstance(now, float) and type(value) is int:
        return float(value)
    is_plain = not isinstance(value, str) and value is not None
    return text if isinstance(now, str) and is_plain else value


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

"""What a search may choose from: ranges such as `1e-4..1e-2:log`, and lists as a grid has them.

Nothing here touches a file, a process or Optuna.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.grid import SEED, Combination, changed
from flows.grid_axes import Axis, axes_of, words
from wordmill.errors import ParamsError
from wordmill.params.everything import Params
from wordmill.params.section import parse_params

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(:log)?")
_DIGITS = 4  # of a drawn float: enough for any result, and a person can type them
_FORM = "LOW..HIGH or LOW..HIGH:log"


@dataclass(frozen=True, kw_only=True)
class Range:
    """A key of params.yaml and the numbers it takes, both ends among them."""

    key: str
    low: float
    high: float
    is_log: bool
    """Whether as much is drawn from 1 to 10 as from 10 to 100."""
    is_whole: bool

    def value(self, drawn: float) -> float:
        """A drawn number as it is written into params.yaml."""
        if self.is_whole:
            return int(drawn)
        return min(max(float(f"{drawn:.{_DIGITS}g}"), self.low), self.high)

    def told(self) -> str:
        """In words."""
        return f"{words(self.low)}..{words(self.high)}{':log' if self.is_log else ''}"


SearchAxis = Range | Axis


def search_axes(asked: list[str], values: dict[str, Any]) -> list[SearchAxis]:
    """Read what is asked, and check both ends of every range and every choice alone.

    Args:
        asked: such as `pretrain.lr=1e-4..1e-2:log`, `model.kind=decoder,lstm`.
        values: params.yaml.

    Raises:
        ParamsError: with a line for each problem.
    """
    ends = [_ends(text) if _is_range(text) else text for text in asked]
    found, problems = axes_of(ends, values)
    if problems:
        raise ParamsError("\n".join(problems))
    typed = [text.partition("=")[2].strip() for text in asked]
    axes: list[SearchAxis] = []
    for axis, text, given in zip(found, typed, asked, strict=True):
        try:
            axes.append(_range(axis, text) if _is_range(given) else axis)
        except ParamsError as error:
            problems.append(str(error))
    problems += _alone(axes, values)
    if not problems and not any(isinstance(axis, Range) or len(axis.values) > 1 for axis in axes):
        problems.append("--search: there is nothing to choose from; give a range or a list by -S")
    if any(axis.key == SEED for axis in axes):
        problems.append("-S seed: the best of several seeds is luck; search with one")
    if problems:
        raise ParamsError("\n".join(dict.fromkeys(problems)))
    return axes


def combination(
    drawn: dict[str, Any], axes: list[SearchAxis], values: dict[str, Any]
) -> Combination:
    """The params of a trial.

    Args:
        drawn: by key, a number, or the place of a value in its list.
        axes: of the search.
        values: params.yaml.
    """
    changes: dict[str, Any] = {}
    for axis in axes:
        one = drawn[axis.key]
        changes[axis.key] = axis.value(one) if isinstance(axis, Range) else axis.values[one]
    return Combination(changes=changes, values=changed(values, changes))


def check_together(one: Combination) -> None:
    """Check a trial's params as params.yaml is.

    Raises:
        ParamsError: they do not go together.
    """
    parse_params(Params, one.values, file=Path("params.yaml"))


def refuse_ranges(asked: list[str]) -> None:
    """Say that a grid has none.

    Raises:
        ParamsError: with a line for each.
    """
    if found := [text for text in asked if _is_range(text)]:
        lines = (f"-S {t}: a range needs --search random or --search bayes" for t in found)
        raise ParamsError("\n".join(lines))


def told(axis: SearchAxis) -> str:
    """What an axis may be, in words."""
    return axis.told() if isinstance(axis, Range) else ", ".join(words(v) for v in axis.values)


def _is_range(text: str) -> bool:
    return bool(_RANGE.fullmatch(text.partition("=")[2].strip()))


def _ends(text: str) -> str:
    """A range as a list of its ends, which a grid can read."""
    key, _, given = text.partition("=")
    match = _RANGE.fullmatch(given.strip())
    assert match is not None
    low, high = match[1], match[2]
    return f"{key}={low}" if low == high else f"{key}={low},{high}"


def _range(axis: Axis, text: str) -> Range:
    match = _RANGE.fullmatch(text)
    assert match is not None
    # As a grid types them: 1 is 1.0 where the key holds a float.
    low, high = axis.values[0], axis.values[-1]
    here = f"-S {axis.key}={text}"
    if not all(isinstance(end, int | float) for end in (low, high)):
        raise ParamsError(f"{here}: a range is for numbers; list the values instead")
    if not low < high:
        raise ParamsError(f"{here}: must go up, as {_FORM}")
    is_log = match[3] is not None
    if is_log and low <= 0:
        raise ParamsError(f"{here}: :log needs numbers above 0")
    is_whole = isinstance(low, int) and isinstance(high, int)
    return Range(key=axis.key, low=low, high=high, is_log=is_log, is_whole=is_whole)


def _alone(axes: list[SearchAxis], values: dict[str, Any]) -> Iterator[str]:
    """Problems of a key's own values: those of values together show when a trial has them."""
    file = Path("params.yaml")
    for axis in axes:
        ends = [axis.low, axis.high] if isinstance(axis, Range) else axis.values
        for value in ends:
            try:
                parse_params(Params, changed(values, {axis.key: value}), file=file)
            except ParamsError as error:
                start = f"{file}: {axis.key}"
                yield from (
                    f"-S {line.removeprefix(f'{file}: ')}"
                    for line in str(error).splitlines()
                    if line.startswith(start)
                )

"""Where a value stands in a row, and where rows stand in a JSON file.

A column is a name or a path: `title`, `answers[0].text`. A path to rows takes each element of
the lists marked `[]`: `data[].paragraphs[].qas[]`. A row sees its own keys and those of
everything around it, the nearest first.
"""

import re
from collections.abc import Iterator
from typing import Any

from wordmill.data.quarantine import UnusableRowError

_STEP = re.compile(r"\[(\d+)\]|\.?([^.\[\]]+)")
_EACH = "[]"
_ROW_STEP = re.compile(r"(\[\])|\.")

Row = dict[str, Any]


class Column:
    """A value of a row, found by one path or, joined by line ends, by several."""

    def __init__(self, paths: str | list[str]) -> None:
        self.paths = [paths] if isinstance(paths, str) else paths
        self._steps = [_steps(path) for path in self.paths]

    def value(self, row: Row) -> Any:
        """What stands there; for several paths it is text.

        Raises:
            UnusableRowError: nothing does.
        """
        return _find(row, self.paths[0], self._steps[0]) if len(self.paths) == 1 else self.text(row)

    def text(self, row: Row) -> str:
        """The text that stands there; a list of texts is joined by line ends.

        Raises:
            UnusableRowError: nothing does, or it is not text.
        """
        at = zip(self.paths, self._steps, strict=True)
        return "\n".join(_joined(_find(row, *place), place[0]) for place in at)

    def __str__(self) -> str:
        return " + ".join(self.paths)

    def in_table(self, names: list[str]) -> tuple[set[str], str]:
        """The table's columns that hold this one, and the first path that none of them does."""
        held: set[str] = set()
        for path, steps in zip(self.paths, self._steps, strict=True):
            name = path if path in names else steps[0]
            if name not in names:
                return held, path
            held.add(name)
        return held, ""


def checked_text(value: Any, column: str) -> str:
    """A value that is text.

    Raises:
        UnusableRowError: it is not, or UTF-8 can't hold it.
    """
    if not isinstance(value, str):
        raise UnusableRowError("not_text", f"column '{column}' must be text; got {value!r:.60}")
    try:
        value.encode()
    except UnicodeEncodeError:  # JSON can hold half a character
        raise UnusableRowError(
            "half_surrogate", f"column '{column}' holds half a surrogate pair"
        ) from None
    return value


def _joined(value: Any, path: str) -> str:
    is_list = isinstance(value, list) and all(isinstance(part, str) for part in value)
    return checked_text("\n".join(value) if is_list else value, path)


def nested_rows(value: Any, path: str | None) -> Iterator[Any]:
    """Yield the rows of a JSON value, each with what stands around it.

    What has no rows where the path leads gives an UnusableRowError in their place: the rest of the
    file is none the worse.

    Args:
        value: as parsed.
        path: to the rows; None takes the elements of a list, or the value itself.
    """
    if path is None:
        path = _EACH if isinstance(value, list) else ""
    yield from _descend(value, [step for step in _ROW_STEP.split(path) if step], {})


def _descend(value: Any, steps: list[str], around: Row) -> Iterator[Any]:
    if not steps:
        yield {**around, **value} if isinstance(value, dict) else value
    elif steps[0] == _EACH and isinstance(value, list):
        for element in value:
            yield from _descend(element, steps[1:], around)
    elif isinstance(value, dict) and steps[0] in value:
        yield from _descend(value[steps[0]], steps[1:], {**around, **value})
    else:
        there = (
            f"the keys are: {_names(value)}" if isinstance(value, dict) else f"got {value!r:.60}"
        )
        wanted = "a list" if steps[0] == _EACH else f"'{steps[0]}'"
        yield UnusableRowError("missing_column", f"the path in 'rows' wants {wanted} here; {there}")


def _steps(path: str) -> list[Any]:
    return [int(m[1]) if m[1] else m[2] for m in _STEP.finditer(path)]


def _find(row: Row, path: str, steps: list[Any]) -> Any:
    if path in row:  # a name may hold a dot
        return row[path]
    at: Any = row
    for step in steps:
        is_there = step in at if isinstance(at, dict) else _has_place(at, step)
        if not is_there:
            raise UnusableRowError(
                "missing_column", f"no column '{path}'; the columns are: {_names(row)}"
            )
        at = at[step]
    return at


def _has_place(value: Any, step: Any) -> bool:
    return isinstance(value, list) and isinstance(step, int) and step < len(value)


def _names(row: Row) -> str:
    shown = ", ".join(row)
    return shown if len(shown) <= 200 else f"{shown[:200]}..."

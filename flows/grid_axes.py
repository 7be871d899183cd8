"""The axes of a grid or search as they are typed: `KEY=VALUE,VALUE`.

A value is read as YAML 1.2, as DVC reads it, and becomes the type that the key has in params.yaml.
"""

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from wordmill.errors import ParamsError

_OPENING, _CLOSING, _QUOTES = "[{", "]}", "\"'"


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A key of params.yaml and the values it takes."""

    key: str
    values: list[Any]


def words(value: Any) -> str:
    """A value as a person writes it."""
    if value is None or isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False)
    return f"{value:g}" if isinstance(value, float) else str(value)


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

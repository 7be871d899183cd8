"""How params.yaml becomes typed values: every problem at once, one line each.

A section has no defaults (a default in code is invisible to DVC), takes no unknown keys and
converts no types. Each section stands in a file of its own, so that DVC reruns a stage only
when the shape of its own section changes.
"""

import difflib
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from wordmill.errors import ParamsError


class Section(BaseModel):
    """A frozen, strict part of params.yaml."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


def read_params(path: Path) -> dict[str, Any]:
    """Read a params file as YAML 1.2, the way DVC reads it.

    Raises:
        ParamsError: the file is missing, is not YAML, or is not a mapping.
    """
    try:
        values = YAML(typ="safe").load(path)
    except IsADirectoryError:
        raise ParamsError(f"{path}: is a folder; name a file in it") from None
    except FileNotFoundError:
        raise ParamsError(f"{path}: no such file; run from the project's root") from None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ParamsError(f"{where}: not valid YAML: {what}") from None
    if not isinstance(values, dict):
        raise ParamsError(f"{path}: must hold sections (ingest:, clean:, ...)")
    return values


AnySection = TypeVar("AnySection", bound=Section)


def parse_params(shape: type[AnySection], values: dict[str, Any], *, file: Path) -> AnySection:
    """Check `values` against `shape`.

    Raises:
        ParamsError: with a line for each unknown key, missing key and wrong value.
    """
    try:
        return shape.model_validate(values)
    except ValidationError as error:
        lines = [_line(detail, shape) for detail in error.errors()]
        raise ParamsError("\n".join(f"{file}: {line}" for line in lines)) from None


def _line(detail: Any, shape: type[BaseModel]) -> str:
    place, given, kind = detail["loc"], detail["input"], detail["type"]
    key = ".".join(str(part) for part in place) or "all sections"
    match kind:
        case "extra_forbidden":
            allowed = _keys_beside(shape, place)
            near = difflib.get_close_matches(str(place[-1]), allowed, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"allowed: {', '.join(allowed)}"
            return f"{key}: unknown key; {hint}"
        case "missing":
            return f"{key}: missing; every key must be given"
        case "union_tag_not_found":
            return f"{key}: {detail['ctx']['discriminator']} is missing"
        case "union_tag_invalid":
            tag, allowed = detail["ctx"]["tag"], detail["ctx"]["expected_tags"]
            name = detail["ctx"]["discriminator"].strip("'")
            return f"{key}.{name}: got '{tag}'; allowed: {allowed}"
        case "value_error":
            return f"{key}: {detail['ctx']['error']}"
        case _:
            rule = detail["msg"].removeprefix("Input should be ")
            return f"{key}: must be {rule}; got {given!r} ({type(given).__name__})"


def _keys_beside(shape: type[BaseModel], place: tuple[int | str, ...]) -> list[str]:
    """The keys allowed where `place` ends, found by walking the types down from `shape`."""
    at: Any = shape
    for part in place[:-1]:
        at = _step_into(at, part)
    return sorted(at.model_fields)


def _step_into(at: Any, part: int | str) -> Any:
    if hasattr(at, "model_fields"):
        return at.model_fields[part].annotation
    members = get_args(at)
    if isinstance(part, int):  # list[X] -> X
        return members[0]
    if hasattr(at, "__metadata__"):  # Annotated[X, ...] -> X
        return _step_into(members[0], part)
    return next(m for m in members if part in _tags(m))  # a union: pydantic names the tag


def _tags(member: Any) -> set[str]:
    fields = member.model_fields
    tag = fields.get("kind") or fields["task"]
    return set(get_args(tag.annotation))

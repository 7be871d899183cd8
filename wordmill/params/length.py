"""How long training takes: `750 steps`, `20M tokens` or `3 epochs`."""

import re
from typing import Annotated, Literal, NamedTuple, cast

from pydantic import BeforeValidator, PlainSerializer

Unit = Literal["steps", "tokens", "epochs"]

_FORM = re.compile(r"(?P<number>\d+(\.\d+)?)(?P<scale>[kMB]?) (?P<unit>step|token|epoch)s?")
_SCALES = {"": 1, "k": 1_000, "M": 1_000_000, "B": 1_000_000_000}
_ALLOWED = "allowed: a number and a unit, as in '750 steps', '20M tokens', '3 epochs'"


class Length(NamedTuple):
    """A number of optimizer steps, of tokens trained on, or of passes over the data."""

    number: float
    unit: Unit

    def __str__(self) -> str:
        return f"{self.number:.12g} {self.unit}"


def _parsed(value: object) -> Length:
    if isinstance(value, Length):
        return value
    match = _FORM.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"got {value!r}; {_ALLOWED}")
    count = float(match["number"]) * _SCALES[match["scale"]]
    if count <= 0:
        raise ValueError(f"got {value!r}; it must be above zero")
    unit = cast(Unit, match["unit"] + "s")
    if unit == "steps" and count != int(count):
        raise ValueError(f"got {value!r}; steps are whole")
    return Length(count, unit)


TrainingLength = Annotated[Length, BeforeValidator(_parsed), PlainSerializer(str)]

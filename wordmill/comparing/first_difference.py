"""Where two files that should hold the same first differ: the tensor, the row, the value.

NaN is a difference, from itself too: a file with one was not made well.
"""

import json
import math
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any

_SHOWN = 60
_CHUNK_BYTES = 1 << 20
_GONE = object()


def first_difference(old: Path, new: Path) -> str:
    """In words where `new` first differs from `old`, empty if it does not.

    Args:
        old: a file.
        new: one of the same name.
    """
    kind = _KINDS.get(new.suffix, _bytes)
    try:
        return kind(old, new) or _bytes(old, new)
    except ValueError as error:  # one of the two is broken
        return f"can't be read as {new.suffix}: {str(error).partition(chr(10))[0]}"


def nan_in(file: Path) -> str:
    """In words where a file of weights or values has a NaN, empty if it has none."""
    match file.suffix:
        case ".safetensors":
            return _nan_tensor(file)
        case ".csv":
            lines = file.read_text(encoding="utf-8").lower().splitlines()
            rows = (
                number for number, line in enumerate(lines, start=1) if "nan" in line.split(",")
            )
            return next((f"NaN in row {number}" for number in rows), "")
        case ".json":
            values = json.loads(file.read_text(encoding="utf-8"))
            return next((f"NaN in {path}" for path in _nans(values, "")), "")
        case _:
            return ""


def _weights(old: Path, new: Path) -> str:
    """One tensor of each at a time: a model need not fit into memory twice."""
    differing: list[tuple[float, str]] = []
    with _opened(old) as then, _opened(new) as now:
        names, others = set(then.keys()), set(now.keys())
        if alone := sorted(names ^ others):
            return f"tensor {alone[0]} is {'gone' if alone[0] in names else 'new'}"
        for name in sorted(names):
            was, one = then.get_tensor(name), now.get_tensor(name)
            if _form(was) != _form(one):
                return f"tensor {name} was {_form(was)}, is {_form(one)}"
            if _has_nan(was) or _has_nan(one):
                return f"tensor {name} has NaN"
            if distance := _distance(was, one):
                differing.append((distance, name))
    if not differing:
        return ""
    (distance, first), (most, worst) = differing[0], max(differing)
    told = f"tensor {first}, max |difference| {distance:.3g}"
    if len(differing) > 1:
        told += f"; {len(differing)} of {len(names)} tensors differ, most {worst} by {most:.3g}"
    return told


def _distance(was: Any, one: Any) -> float:
    """The most that two tensors without NaN are apart; 0 if they are equal, infinities too."""
    if was.equal(one):
        return 0.0
    apart = (was.double() - one.double()).abs()
    return float(apart[was != one].max())


def _form(tensor: Any) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


@contextmanager
def _opened(file: Path) -> Generator[Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as opened:
            yield opened
    except SafetensorError as error:
        raise ValueError(str(error)) from None


def _nan_tensor(file: Path) -> str:
    with _opened(file) as opened:
        names = (name for name in sorted(opened.keys()) if _has_nan(opened.get_tensor(name)))
        return next((f"NaN in {name}" for name in names), "")


def _has_nan(tensor: Any) -> bool:
    return bool(tensor.is_floating_point() and tensor.isnan().any())


def _lines(old: Path, new: Path) -> str:
    """Rows of text; of JSON the fields that differ, of a table with a head the columns."""
    was, now = (file.read_text(encoding="utf-8").split("\n") for file in (old, new))
    head = was[0].split(",") if new.suffix == ".csv" else []
    for number, (one, other) in enumerate(zip_longest(was, now, fillvalue=None), start=1):
        if one != other:
            return f"row {number}{_in_row(one, other, head, new.suffix)}"
    return nan_in(new)


def _in_row(one: str | None, other: str | None, head: list[str], suffix: str) -> str:
    if not one or not other:
        return f" is {'new' if not one else 'gone'}: {_short(other or one)}"
    if suffix == ".csv":
        cells = zip_longest(head, one.split(","), other.split(","), fillvalue="")
        return next((f" ({name} {was} is {now})" for name, was, now in cells if was != now), "")
    if suffix == ".jsonl":
        row, path = json.loads(one), _first_path(json.loads(one), json.loads(other), "")
        who = [str(row[key]) for key in ("system", "task", "id") if key in row]
        return f" ({', '.join(who)}): {path}" if path else f": {_short(other)}"
    return f": {_short(one)} is {_short(other)}"


def _json(old: Path, new: Path) -> str:
    was, now = (json.loads(file.read_text(encoding="utf-8")) for file in (old, new))
    return _first_path(was, now, "") or nan_in(new)


def _first_path(was: Any, now: Any, at: str) -> str:
    """The place of the first value that differs, and both values."""
    if isinstance(was, dict) and isinstance(now, dict):
        inner = (
            (f"{at}.{key}".lstrip("."), was.get(key, _GONE), now.get(key, _GONE))
            for key in {**was, **now}
        )
        return next((told for key, a, b in inner if (told := _first_path(a, b, key))), "")
    if isinstance(was, list) and isinstance(now, list):
        pairs = enumerate(zip_longest(was, now, fillvalue=_GONE))
        return next((told for i, (a, b) in pairs if (told := _first_path(a, b, f"{at}[{i}]"))), "")
    if type(was) is type(now) and was == now:
        return ""
    return f"{at or 'the value'} {_short(was)} is {_short(now)}"


def _nans(value: Any, at: str) -> Iterator[str]:
    if isinstance(value, float) and math.isnan(value):
        yield at or "the value"
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _nans(inner, f"{at}.{key}".lstrip("."))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _nans(inner, f"{at}[{i}]")


def _table(old: Path, new: Path) -> str:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        was, now = (pq.ParquetFile(file).read() for file in (old, new))
    except pa.ArrowInvalid as error:
        raise ValueError(str(error)) from None
    if was.schema != now.schema:
        return f"columns were {', '.join(was.column_names)}, are {', '.join(now.column_names)}"
    rows = zip_longest(was.to_pylist(), now.to_pylist(), fillvalue=None)
    for number, (one, other) in enumerate(rows, start=1):
        if one is None or other is None:
            return f"row {number} is {'new' if one is None else 'gone'}"
        if told := _first_path(one, other, ""):
            return f"row {number}: {told}"
    return ""


def _bytes(old: Path, new: Path) -> str:
    with old.open("rb") as was, new.open("rb") as now:
        offset = 0
        while True:
            one, other = was.read(_CHUNK_BYTES), now.read(_CHUNK_BYTES)
            if one != other:
                pairs = enumerate(zip_longest(one, other))
                return f"byte {offset + next(i for i, (a, b) in pairs if a != b):,}"
            if not one:
                return ""
            offset += len(one)


def _short(value: Any) -> str:
    if value is _GONE:
        return "gone"
    if isinstance(value, str):
        return repr(value if len(value) <= _SHOWN else f"{value[:_SHOWN]}...")
    told = json.dumps(value, ensure_ascii=False)
    return told if len(told) <= _SHOWN else f"{told[:_SHOWN]}..."


_KINDS: dict[str, Callable[[Path, Path], str]] = {
    ".safetensors": _weights,
    ".csv": _lines,
    ".jsonl": _lines,
    ".md": _lines,
    ".txt": _lines,
    ".json": _json,
    ".parquet": _table,
}

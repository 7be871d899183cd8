"""Presets: a file of the params that differ, put into params.yaml for the runs that follow.

Git shows what a preset changed and takes it back (`git checkout params.yaml`).
"""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.representer import RoundTripRepresenter

from wordmill.errors import DataError, ParamsError
from wordmill.files import replaced_file
from wordmill.params.everything import Params
from wordmill.params.section import parse_params, read_params


def use(preset: Path, *, params: Path, data: Path | None) -> str:
    """Write a preset's values into a params file, whose comments and other values stay.

    Args:
        preset: only the sections and keys that differ; a list takes the place of a list.
        params: the file to change.
        data: the folder that the preset's `ingest.root` lies in; None leaves it as it is.

    Returns:
        What was done, in a line.

    Raises:
        ParamsError: the preset is no params file, or the outcome would not be a valid one.
        DataError: the data is not there.
    """
    differing = read_params(preset)  # its errors are clear ones
    yaml = _yaml()
    merged = yaml.load(params)
    _check(merged, differing, place="", file=preset)
    differing = yaml.load(preset)  # again, now as it is written: styles are kept
    root = differing.get("ingest", {}).get("root")
    if data is not None and root is not None:
        root = str(data / str(root))
        differing["ingest"]["root"] = root
    if root is not None and not Path(str(root)).is_dir():
        raise DataError(
            f"{root}: no such folder; give the one that holds your corpora:"
            f" wordmill use {preset} --data FOLDER"
        )
    _merge(merged, differing)
    with replaced_file(params) as partial:
        yaml.dump(merged, partial)
        parse_params(Params, read_params(partial), file=preset)
    return f"{params} follows {preset} now; `wordmill retrain` or `dvc repro` runs it"


class _Representer(RoundTripRepresenter):
    """Writes what it reads as it stood."""


_Representer.add_representer(
    type(None), lambda self, _: self.represent_scalar("tag:yaml.org,2002:null", "null")
)


def _yaml() -> YAML:
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.preserve_quotes = True
    yaml.width = 100
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _check(into: Any, differing: dict[str, Any], *, place: str, file: Path) -> None:
    for key, value in differing.items():
        if key not in into:
            raise ParamsError(f"{file}: {place}{key}: unknown key; allowed: {', '.join(into)}")
        if isinstance(into[key], dict):
            if not isinstance(value, dict):
                raise ParamsError(
                    f"{file}: {place}{key}: must hold keys such as {next(iter(into[key]))};"
                    f" got {value!r}"
                )
            _check(into[key], value, place=f"{place}{key}.", file=file)


def _merge(into: Any, differing: Any) -> None:
    for key, value in differing.items():
        if isinstance(into[key], dict):
            _merge(into[key], value)
        else:
            into[key] = value

"""The identity of what goes into a stage and comes out of it.

A checkpoint may only be taken up by a run of the same params, data and code, so it lies in a
folder named after their hash. What counts as input is what dvc.yaml says.
`python -m stages.inputs STAGE ...` prints these names as JSON.
"""

import hashlib
import json
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from wordmill.params.section import read_params

_PACKAGES_THAT_MOVE_WEIGHTS = ("torch", "lightning", "transformers")
_PACKAGES_THAT_READ = ("pyarrow", "resiliparse", "charset-normalizer")
_CHUNK_BYTES = 1 << 20


def inputs_key(stage: str) -> str:
    """One hash of all that `identity` tells apart."""
    return _hash(identity(stage))


def identity(stage: str) -> dict[str, str]:
    """Hashes of a stage's params, data and code, and of the packages it trains with.

    The devices are left out: a run may go on where it finds others.
    """
    described = read_params(Path("dvc.yaml"))["stages"][stage]
    values = read_params(Path("params.yaml"))
    names = [name for name in described["params"] if name != "compute"]
    files = [path for dep in described["deps"] for path in _files(Path(dep))]
    code, data = (
        [[str(path), md5_of(path)] for path in files if _is_code(path) is wanted]
        for wanted in (True, False)
    )
    packages = [platform.python_version(), *map(version, _PACKAGES_THAT_MOVE_WEIGHTS)]
    return {
        "params": _hash({name: _at(values, name) for name in names}),
        "data": _hash(data),
        "code": _hash(code),
        "packages": _hash(packages),
    }


def dag_code() -> str:
    """A hash of the code of all stages: another edit of any of them makes another model."""
    stages = read_params(Path("dvc.yaml"))["stages"].values()
    code = {Path(dep) for stage in stages for dep in stage["deps"] if _is_code(Path(dep))}
    files = sorted({path for dep in code for path in _files(dep)})
    return _hash([[str(path), md5_of(path)] for path in files])


def code_key(stage: str) -> str:
    """A hash of the code that a stage depends on, and of what reads and writes its files."""
    deps = read_params(Path("dvc.yaml"))["stages"][stage]["deps"]
    code = [Path(dep) for dep in deps if _is_code(Path(dep))]
    parts: list[Any] = [platform.python_version(), *map(version, _PACKAGES_THAT_READ)]
    parts += [[str(path), md5_of(path)] for dep in code for path in _files(dep)]
    return _hash(parts)


def dvc_hash(folder: Path) -> str:
    """The hash that DVC gives a folder of outputs, so that one can be looked up by the other."""
    listing = [
        {"md5": md5_of(path), "relpath": path.relative_to(folder).as_posix()}
        for path in sorted(_files(folder))
    ]
    listing.sort(key=lambda entry: entry["relpath"])
    return hashlib.md5(json.dumps(listing, sort_keys=True).encode()).hexdigest() + ".dir"


def md5_of(path: Path) -> str:
    """The MD5 of a file's bytes, DVC's name for it."""
    digest = hashlib.md5()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    else:
        found = (p for p in sorted(path.rglob("*")) if p.is_file())
        yield from (p for p in found if "__pycache__" not in p.parts)


def _is_code(path: Path) -> bool:
    return path.parts[0] in ("stages", "wordmill")


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _at(values: Any, dotted: str) -> Any:
    for part in dotted.split("."):
        values = values[part]
    return values


if __name__ == "__main__":
    print(json.dumps({name: inputs_key(name) for name in sys.argv[1:]}))

"""Checkpoints that are whole or not there, and that only their own run takes up.

Each is written beside its place while its bytes are hashed, synced, read back, and renamed to a
name that holds the hash. A reader takes the newest whose bytes still have that hash; a damaged
one is passed over with a warning. Lightning's own writer stages in $TMPDIR (no rename across
disks is atomic) and lets a full disk replace the last good file by a part.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from lightning.fabric.plugins import CheckpointIO

from wordmill.errors import DataError, OutputError
from wordmill.files import replaced_file

Identity = Mapping[str, str]
"""What a checkpoint belongs to: a hash each of params, data, tokenizer, code and the like."""

_IDENTITY = "wordmill"
_NAME = re.compile(r"(?P<kind>step|best)-(?P<step>\d{9})-(?P<digest>[0-9a-f]{16})\.ckpt")
_KEPT = {"step": 2, "best": 3}  # two checkpoints name two bests at most; a third may be on its way
_CHUNK_BYTES = 1 << 20


class WholeCheckpointIO(CheckpointIO):
    """Writes and reads checkpoints for a Lightning strategy.

    Args:
        identity: written into each.
    """

    def __init__(self, identity: Identity) -> None:
        self._identity = dict(identity)

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write the checkpoint into the folder of `path`, then drop all but the newest few."""
        content = {**checkpoint, _IDENTITY: self._identity}
        _write(Path(path).parent, "step", checkpoint["global_step"], content)

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint; tensors and plain values only, never code."""
        return torch.load(path, map_location=map_location, weights_only=True)

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a checkpoint."""
        Path(path).unlink(missing_ok=True)


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest undamaged checkpoint in `folder`, None if there is none."""
    for path in reversed(_by_step(folder, "step")):
        if _is_whole(path):
            return path
        warnings.warn(f"{path}: damaged; going on from the one before", stacklevel=2)
    return None


def check_identity(path: Path, identity: Identity) -> None:
    """See that a checkpoint belongs to this run.

    Raises:
        DataError: it comes from something else.
    """
    found: dict[str, str] = torch.load(path, weights_only=True, mmap=True).get(_IDENTITY, {})
    names = sorted({*found, *identity})
    if differing := [name for name in names if found.get(name) != identity.get(name)]:
        raise DataError(
            f"{path}: this checkpoint was made with other {', '.join(differing)} and is not taken"
            f" up; remove {path.parent} to start from the first step"
        )


def save_best(folder: Path, step: int, weights: Mapping[str, Any]) -> None:
    """Keep the weights after `step` as the best so far."""
    _write(folder, "best", step, dict(weights))


def load_best(folder: Path, step: int) -> dict[str, Any]:
    """The weights that were kept after `step`.

    Raises:
        DataError: they are gone or damaged.
    """
    found = [path for path in _by_step(folder, "best") if step_of(path) == step]
    if not found or not _is_whole(found[-1]):
        raise DataError(
            f"{folder}: the best weights, of step {step}, are gone or damaged; remove the folder"
            " to start from the first step"
        )
    return torch.load(found[-1], map_location="cpu", weights_only=True)


def step_of(path: Path) -> int:
    """The step that a checkpoint was written after."""
    return int(_match(path)["step"])


class _Hashed:
    """A file that hashes what is written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest = file, hashlib.sha256()
        self.error: OSError | None = None
        """Why a write failed: torch.save says only that it did."""

    def write(self, content: bytes) -> int:
        self.digest.update(content)
        try:
            return self._file.write(content)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()


def _write(folder: Path, kind: str, step: int, content: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with replaced_file(folder / kind) as partial:
        with partial.open("wb") as file:
            hashed = _Hashed(file)
            try:
                torch.save(content, hashed)  # pyright: ignore[reportArgumentType]
            except RuntimeError as error:
                raise hashed.error or error from None
        digest = hashed.digest.hexdigest()[:16]
        if _digest_of(partial) != digest:
            raise OutputError(f"{folder}: the disk does not give back what was written to it")
        path = folder / f"{kind}-{step:09d}-{digest}.ckpt"
    (folder / kind).replace(path)
    for old in _by_step(folder, kind)[: -_KEPT[kind]]:
        old.unlink()


def _by_step(folder: Path, kind: str) -> list[Path]:
    return sorted(path for path in folder.glob(f"{kind}-*.ckpt") if _NAME.fullmatch(path.name))


def _is_whole(path: Path) -> bool:
    return _digest_of(path) == _match(path)["digest"]


def _match(path: Path) -> re.Match[str]:
    match = _NAME.fullmatch(path.name)
    assert match is not None
    return match


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]

"""Checkpoints that are whole or not there.

Each is written beside its place, synced, and renamed to a name that holds the hash of its
bytes. A reader takes the newest whose bytes still have that hash; a damaged one is passed
over with a warning. Lightning's own writer stages in $TMPDIR (no rename across disks is
atomic) and lets a full disk replace the last good file by a part.
"""

import hashlib
import io
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO

from wordmill.files import replaced_file

_NAME = re.compile(r"step-(?P<step>\d{9})-(?P<digest>[0-9a-f]{16})\.ckpt")
_KEPT = 2


class WholeCheckpointIO(CheckpointIO):
    """Writes and reads checkpoints for a Lightning strategy."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write the checkpoint into the folder of `path`, then drop all but the newest few."""
        folder = Path(path).parent
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        content = buffer.getvalue()
        name = f"step-{checkpoint['global_step']:09d}-{_digest(content)}.ckpt"
        with replaced_file(folder / name) as partial:
            partial.write_bytes(content)
        for old in _by_step(folder)[:-_KEPT]:
            old.unlink()

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
    for path in reversed(_by_step(folder)):
        match = _NAME.fullmatch(path.name)
        assert match is not None
        if _digest(path.read_bytes()) == match["digest"]:
            return path
        warnings.warn(f"{path}: damaged; going on from the one before", stacklevel=2)
    return None


def step_of(path: Path) -> int:
    """The step that a checkpoint was written after."""
    match = _NAME.fullmatch(path.name)
    assert match is not None
    return int(match["step"])


def _by_step(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step-*.ckpt") if _NAME.fullmatch(path.name))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]

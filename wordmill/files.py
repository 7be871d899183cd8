"""Files that are either whole or not there.

A folder or file is written under a temporary name on the same disk and renamed when it is
complete, so that a kill at any moment leaves the old one or the new one, never a part.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from wordmill.errors import OutputError

_NO_ROOM_OR_RIGHT = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def replaced_folder(path: Path) -> Generator[Path]:
    """Yield an empty folder that takes the place of `path` when the block ends well.

    Raises:
        OutputError: the disk is full or the place can't be written to.
    """
    partial = path.with_name(f".{path.name}.partial")
    replaced = path.with_name(f".{path.name}.replaced")
    with _write_errors_named(path):
        if replaced.exists() and not path.exists():  # killed between the two renames
            replaced.rename(path)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            yield partial
            shutil.rmtree(replaced, ignore_errors=True)
            if path.exists():
                path.rename(replaced)
            partial.rename(path)
        except BaseException:
            if replaced.exists() and not path.exists():
                replaced.rename(path)
            raise
        finally:
            for leftover in (partial, replaced):
                shutil.rmtree(leftover, ignore_errors=True)


@contextmanager
def replaced_file(path: Path) -> Generator[Path]:
    """Yield a temporary path whose file takes the place of `path` when the block ends well.

    Raises:
        OutputError: the disk is full or the place can't be written to.
    """
    partial = path.with_name(f".{path.name}.partial")
    with _write_errors_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            with partial.open("rb") as written:
                os.fsync(written.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def write_json(path: Path, value: object) -> None:
    """Write a value as JSON that a person can read."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    path.write_text(f"{text}\n", encoding="utf-8")


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, which need not fit into memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def size_of(folder: Path) -> int:
    """Bytes of all files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@contextmanager
def _write_errors_named(path: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM_OR_RIGHT:
            raise
        raise OutputError(f"{path}: can't be written: {error.strerror}") from error

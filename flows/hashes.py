"""Hashes of files and folders as DVC gives them, and a memory of those already taken.

A file is hashed again only if its size, inode or a clock of it has moved. As with git's index, a
file written in the last seconds is not remembered: a second edit within one tick of the file
system's clock would go unseen. DVC's own memory in .dvc/tmp is not touched. Two processes may
write the memory at once: the file is replaced whole, the later one stays, and a lost entry is
only hashed again.
"""

import hashlib
import json
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from flows.doubt import DoubtError

HASHES = Path(".wordmill/hashes")
FOLDER = ".dir"

_MEMORY = "files.json"
_VERSION = 1
_RACY_NS = 2_000_000_000
_CHUNK_BYTES = 1 << 20
_IGNORE_FILE = ".dvcignore"
_BY_DEFAULT = (".hg/", ".git", ".dvc/")
_PLAIN_PATTERN = re.compile(r"(?=.*[A-Za-z0-9])[A-Za-z0-9_.*?~-]+/?")

Manifest = dict[str, str]
"""Hashes of a folder's files by their path in it."""


class Seen(NamedTuple):
    """What stat says of a file, and its hash then."""

    mtime_ns: int
    ctime_ns: int
    size: int
    inode: int
    md5: str


class Ignored:
    """What .dvcignore leaves out: plain names with * and ?, as DVC matches them.

    Raises:
        DoubtError: it holds patterns of another kind.
    """

    def __init__(self) -> None:
        lines = _lines_of(Path(_IGNORE_FILE))
        patterns = [*_BY_DEFAULT, *(line for line in lines if line and not line.startswith("#"))]
        if odd := [p for p in patterns if not _PLAIN_PATTERN.fullmatch(p) or "**" in p]:
            raise DoubtError(f"{_IGNORE_FILE}: the pattern {odd[0]}")
        self._folders = _either([p.removesuffix("/") for p in patterns])
        self._files = _either([p for p in patterns if not p.endswith("/")])

    def matches(self, path: str, *, is_folder: bool) -> bool:
        """Whether a path or a folder on the way to it is left out."""
        *folders, last = path.split("/")
        if any(self._folders.fullmatch(name) for name in folders):
            return True
        return bool((self._folders if is_folder else self._files).fullmatch(last))


class Hashes:
    """One look at the project's files; `save` when it is over."""

    def __init__(self) -> None:
        self.ignored = Ignored()
        self._known = _remembered()
        self._looked_at: dict[str, Seen] = {}
        self._manifests: dict[str, Manifest] = {}
        self._hashes: dict[str, str] = {}
        self._plain_folders: set[str] = set()

    def of(self, path: str) -> str | None:
        """DVC's hash of a file or folder, None if it is not there.

        Raises:
            DoubtError: a link, a device, or what can't be read.
        """
        if path not in self._hashes:
            try:
                now = os.lstat(path)
                self._check_way_to(path)
                self._hashes[path] = self._hash(path, now)
            except (FileNotFoundError, NotADirectoryError):
                return None
            except OSError as error:
                raise DoubtError(f"{path} can't be read: {error.strerror}") from None
        return self._hashes[path]

    def manifest(self, folder_hash: str) -> Manifest | None:
        """What a folder of this hash holds, if this or an earlier look saw it."""
        if folder_hash in self._manifests:
            return self._manifests[folder_hash]
        return read_manifest(HASHES / folder_hash)

    def save(self, *, kept_folders: set[str]) -> None:
        """Write down what was learned, once everything was looked at.

        Args:
            kept_folders: hashes whose contents are told apart later, besides those seen now.
        """
        try:
            HASHES.mkdir(parents=True, exist_ok=True)
            there = {path.name for path in HASHES.iterdir() if path.name.endswith(FOLDER)}
            for folder_hash in self._manifests.keys() - there:
                _replace(HASHES / folder_hash, _listing(self._manifests[folder_hash]))
            for folder_hash in there - self._manifests.keys() - kept_folders:
                (HASHES / folder_hash).unlink(missing_ok=True)
            if self._looked_at != self._known:
                memory = {"version": _VERSION, "files": self._looked_at}
                _replace(HASHES / _MEMORY, json.dumps(memory))
        except OSError:  # a project that can't be written to is looked at all the same
            return

    def _check_way_to(self, path: str) -> None:
        """Other rules may hold below a folder that has a .dvcignore or a .dvc of its own."""
        folder, _, _ = path.rpartition("/")
        if folder and folder not in self._plain_folders:
            self._check_way_to(folder)
            for name in (_IGNORE_FILE, ".dvc"):
                if os.path.lexists(f"{folder}/{name}"):
                    raise DoubtError(f"{folder} holds {name}")
            if stat.S_ISLNK(os.lstat(folder).st_mode):
                raise DoubtError(f"{folder} is a link")
            self._plain_folders.add(folder)

    def _hash(self, path: str, now: os.stat_result) -> str:
        if stat.S_ISREG(now.st_mode):
            return self._file(path, now)
        if not stat.S_ISDIR(now.st_mode):
            raise DoubtError(f"{path} is neither a file nor a folder")
        inside = {name: self._file(f"{path}/{name}", at) for name, at in self._walk(path, "")}
        digest = hashlib.md5(_listing(inside).encode(), usedforsecurity=False)
        self._manifests[digest.hexdigest() + FOLDER] = inside
        return digest.hexdigest() + FOLDER

    def _file(self, path: str, now: os.stat_result) -> str:
        if path in self._hashes:
            return self._hashes[path]
        known = self._known.get(path)
        if known is not None and known[:4] == _clocks(now):
            self._looked_at[path] = known
            return known.md5
        return self._taken(path)

    def _taken(self, path: str) -> str:
        started_ns = time.time_ns()
        digest = hashlib.md5(usedforsecurity=False)
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            before = _clocks(os.fstat(file.fileno()))
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
            if before != _clocks(os.fstat(file.fileno())):
                raise DoubtError(f"{path} is being written")
        self._hashes[path] = digest.hexdigest()
        if max(before[:2]) < started_ns - _RACY_NS:
            self._looked_at[path] = Seen(*before, self._hashes[path])
        return self._hashes[path]

    def _walk(self, folder: str, below: str) -> Iterator[tuple[str, os.stat_result]]:
        """Each file that counts: its path in `folder`, and its stat."""
        place = f"{folder}/{below}".rstrip("/")
        with os.scandir(place) as entries:
            for entry in entries:
                is_folder = entry.is_dir(follow_symlinks=False)
                if entry.name in (_IGNORE_FILE, ".dvc"):
                    raise DoubtError(f"{place} holds {entry.name}")
                if self.ignored.matches(f"{place}/{entry.name}", is_folder=is_folder):
                    continue
                name = below + entry.name
                if is_folder:
                    yield from self._walk(folder, f"{name}/")
                elif entry.is_file(follow_symlinks=False):
                    yield name, entry.stat(follow_symlinks=False)
                else:
                    raise DoubtError(f"{place}/{entry.name} is neither a file nor a folder")


def read_manifest(path: Path) -> Manifest | None:
    """A folder's listing as DVC writes it, None if there is none that can be read."""
    try:
        entries: list[dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
        return {entry["relpath"]: entry["md5"] for entry in entries}
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _listing(inside: Manifest) -> str:
    """DVC's own form: its MD5 is the hash of the folder."""
    return json.dumps([{"md5": inside[name], "relpath": name} for name in sorted(inside)])


def _remembered() -> dict[str, Seen]:
    try:
        memory: dict[str, Any] = json.loads((HASHES / _MEMORY).read_text(encoding="utf-8"))
        if memory["version"] != _VERSION:
            return {}
        return {path: Seen(*seen) for path, seen in memory["files"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _replace(path: Path, text: str) -> None:
    """Under a name of this process's own: others may write the same file now."""
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(partial, path)  # noqa: PTH105


def _clocks(now: os.stat_result) -> tuple[int, int, int, int]:
    return now.st_mtime_ns, now.st_ctime_ns, now.st_size, now.st_ino


def _lines_of(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise DoubtError(f"{path} can't be read: {type(error).__name__}") from None


def _either(patterns: list[str]) -> re.Pattern[str]:
    forms = [re.escape(p).replace(r"\*", ".*").replace(r"\?", ".") for p in patterns]
    return re.compile("|".join(f"(?:{form})" for form in forms), re.DOTALL)

"""DVC's cache: where it is, and whether it still holds what a stage made."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flows.doubt import DoubtError
from flows.hashes import FOLDER, Manifest, read_manifest

_HOME = Path(".dvc")
# Sections that have no say in what DVC takes for changed.
_WITHOUT_SAY = {"core", "db", "exp", "hydra", "machine", "parsing", "plots", "remote", "studio"}
_CACHE_KEYS = {"dir", "type", "shared", "slow_link_warning"}
# DVC looks into an object that is not write-protected, and deletes a broken one.
_PROTECTED = 0o444


class Cache:
    """The cache of this project.

    Raises:
        DoubtError: DVC's configuration says more than where it is.
    """

    def __init__(self) -> None:
        if not _HOME.is_dir():
            raise DoubtError("no .dvc here")
        place = _HOME / "cache"
        for config in _configs():
            place = _place_in(config) or place
        self._objects = place / "files/md5"

    def holds(self, output_hash: str) -> bool:
        """Whether an output is kept whole, as DVC judges it: by names and protection."""
        if not self._is_there(output_hash):
            return False
        if not output_hash.endswith(FOLDER):
            return True
        manifest = self.manifest(output_hash)
        if manifest is None:
            raise DoubtError(f"the listing {output_hash} in the cache is broken")
        return all(self._is_there(md5) for md5 in set(manifest.values()))

    def manifest(self, folder_hash: str) -> Manifest | None:
        """What a folder that was made here held, None if the cache does not have it."""
        return read_manifest(self._object(folder_hash))

    def json_in(self, folder_hash: str, name: str) -> Any:
        """A file of JSON in a folder that was made here, None if the cache does not have it."""
        found = (self.manifest(folder_hash) or {}).get(name)
        if found is None or not self._object(found).exists():
            return None
        return json.loads(self._object(found).read_text(encoding="utf-8"))

    def _object(self, object_hash: str) -> Path:
        return self._objects / object_hash[:2] / object_hash[2:]

    def _is_there(self, object_hash: str) -> bool:
        try:
            mode = os.stat(f"{self._objects}/{object_hash[:2]}/{object_hash[2:]}").st_mode  # noqa: PTH116 - thousands of them
        except FileNotFoundError:
            return False
        except OSError as error:
            raise DoubtError(f"DVC's cache can't be read: {error.strerror}") from None
        if stat.S_IMODE(mode) != _PROTECTED:
            raise DoubtError(f"{object_hash} in DVC's cache is not write-protected")
        return True


def _configs() -> Iterator[Path]:
    """DVC's files of settings, each going before those above it."""
    home = Path.home()
    told = os.environ.get
    of_system = told("DVC_SYSTEM_CONFIG_DIR") or (told("XDG_CONFIG_DIRS") or "/etc/xdg")
    own = told("XDG_CONFIG_HOME") or str(home / ".config")
    yield from (Path(folder) / "dvc/config" for folder in of_system.split(os.pathsep))
    yield Path("/Library/Application Support/dvc/config")
    if folder := told("DVC_SYSTEM_CONFIG_DIR"):
        yield Path(folder) / "config"
    yield from (Path(own) / "dvc/config", home / "Library/Application Support/dvc/config")
    if folder := told("DVC_GLOBAL_CONFIG_DIR"):
        yield Path(folder) / "config"
    yield from (_HOME / "config", _HOME / "config.local")


def _place_in(config: Path) -> Path | None:
    """The cache's folder, None where a file of settings says nothing of it."""
    try:
        lines = config.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise DoubtError(f"{config} can't be read: {type(error).__name__}") from None
    place, section = None, ""
    for line in (line.strip() for line in lines):
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            section = line.strip("[]'\" ").partition(" ")[0].lower()
            if section not in {*_WITHOUT_SAY, "cache"} or line.startswith("[["):
                raise DoubtError(f"{config} has {line}")
        elif section == "cache":
            place = _cache_line(line, config) or place
    return place


def _cache_line(line: str, config: Path) -> Path | None:
    key, sign, value = (part.strip() for part in line.partition("="))
    if not sign or key not in _CACHE_KEYS:
        raise DoubtError(f"{config} says {line}")
    if key != "dir":
        return None
    if "://" in value or value.startswith(("~", '"', "'")) or "#" in value:
        raise DoubtError(f"{config} says {line}")
    return config.parent / value

"""What has changed since each stage last ran, by stat and hash against dvc.lock.

The verdicts are DVC's (tests/flows/test_explain.py holds them equal through some hundred random
edits), without importing it: a look at the default project takes some hundredths of a second.
Whatever can't be judged for sure raises `DoubtError`; then DVC is asked (flows/dag.py).
"""

from contextlib import suppress
from pathlib import Path
from typing import Any

from flows.doubt import DoubtError
from flows.dvc_cache import Cache
from flows.dvc_stages import (
    DAG,
    LOCK,
    PARAMS,
    Locked,
    in_order,
    read_locked,
    read_stages,
    read_yaml,
    value_at,
)
from flows.hashes import FOLDER, Hashes, Manifest
from flows.reasons import NEVER_RUN, changed_folder, changed_output, changed_params


class Look:
    """One look at the whole project.

    Raises:
        DoubtError: only DVC can judge it.
    """

    def __init__(self) -> None:
        self._values: dict[str, dict[str, Any]] = {}
        self._stages = read_stages(self.params)
        self._locked = read_locked()
        self._hashes, self._cache = Hashes(), Cache()
        if any(self._hashes.ignored.matches(str(file), is_folder=False) for file in (DAG, LOCK)):
            raise DoubtError(".dvcignore leaves out what DVC itself reads")

    @property
    def params(self) -> dict[str, Any]:
        """What params.yaml holds, empty where there is none."""
        return self._values_of(PARAMS) if Path(PARAMS).exists() else {}

    @property
    def needs(self) -> dict[str, list[str]]:
        """The stages in order, each with those whose outputs it needs."""
        return in_order(self._stages.values())

    def reasons(self, name: str) -> list[str]:
        """Why DVC would run a stage now, in words; empty where it would not.

        Raises:
            DoubtError: only DVC can judge it.
        """
        stage, locked = self._stages[name], self._locked.get(name)
        if locked is None:
            for path in stage.deps:  # so that the next look can name what changed since
                with suppress(DoubtError):
                    self._hashes.of(path)
            return [NEVER_RUN]
        found = ["its command has changed"] if stage.cmd != locked.cmd else []
        for file, keys in stage.params.items():
            found += self._changed_params(file, keys, locked.params.get(file))
        for path in stage.deps:
            found += self._changed_dep(path, locked)
        for path, is_cached in stage.outs.items():
            found += self._changed_out(path, locked, is_cached=is_cached)
        return found

    def output_hash(self, name: str) -> str | None:
        """DVC's hash of what a stage made when it last ran."""
        locked = self._locked.get(name)
        return next(iter(locked.outs.values()), None) if locked else None

    def save(self) -> None:
        """Remember hashes for the next look. Only after every stage was looked at."""
        known = (locked.deps | locked.outs for locked in self._locked.values())
        self._hashes.save(kept_folders={found for hashes in known for found in hashes.values()})

    def _changed_params(
        self, file: str, keys: list[str], locked: dict[str, Any] | None
    ) -> list[str]:
        if not Path(file).exists():
            return [f"{file} is gone"]
        values = self._values_of(file)
        locked = locked or {}
        changed: list[str] = []
        for key in keys:
            is_there, value = value_at(values, key)
            if not is_there or key not in locked or value != locked[key]:
                changed.append(key)
        return changed_params(locked, values, changed)

    def _values_of(self, file: str) -> dict[str, Any]:
        if file not in self._values:
            self._values[file] = read_yaml(Path(file))
            _check_keys(self._values[file], file)
        return self._values[file]

    def _changed_dep(self, path: str, locked: Locked) -> list[str]:
        before, now = locked.deps.get(path), self._hashes.of(path)
        if now is None:
            return [f"{path} is gone"]
        if before is None:
            return [f"{path} is new among what it reads"]
        if before == now:
            return []
        if now.endswith(FOLDER):
            return [changed_folder(path, self._manifest(before), self._manifest(now))]
        return [f"{path} is modified"]

    def _changed_out(self, path: str, locked: Locked, *, is_cached: bool) -> list[str]:
        if self._hashes.ignored.matches(path, is_folder=Path(path).is_dir()):
            raise DoubtError(f".dvcignore leaves out the output {path}")
        before = locked.outs.get(path)
        is_kept = before is None or not is_cached or self._cache.holds(before)
        now = self._hashes.of(path)
        if now is None:
            return [f"output {path} is missing"]
        if before is None:
            return [f"output {path} is new among what it makes"]
        if before != now:
            return [changed_output(path, self._manifest(before), self._manifest(now))]
        return [] if is_kept else [f"output {path} is not in DVC's cache"]

    def _manifest(self, found_hash: str) -> Manifest | None:
        if not found_hash.endswith(FOLDER):
            return None
        return self._hashes.manifest(found_hash) or self._cache.manifest(found_hash)


def _check_keys(values: Any, file: str) -> None:
    """DVC looks keys up by pattern: with other keys than plain words it may find another."""
    if isinstance(values, dict):
        for key, value in values.items():
            if not isinstance(key, str) or not key:
                raise DoubtError(f"{file} has the key {key!r}")
            _check_keys(value, file)
    elif isinstance(values, list):
        for value in values:
            _check_keys(value, file)

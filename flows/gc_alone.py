"""Who may free and who may not: freeing is done alone, and not while an experiment works.

Grids of different names run beside each other, so each holds this lock with the others; `wordmill
gc --delete` holds it for itself.
"""

import fcntl
import json
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from flows.workspace import STATE, BusyError, only_flow

_LOCK = STATE / "locks" / "gc"
_MAKERS = STATE / "experiments" / "locks"
_BUSY_PATHS = Path(".dvc/tmp/rwlock")


@contextmanager
def nothing_freed() -> Generator[None]:
    """Keep `wordmill gc` from freeing anything.

    Raises:
        BusyError: it is at work.
    """
    with _held(_LOCK, fcntl.LOCK_SH, "`wordmill gc` is at work in this project; wait for it"):
        yield


@contextmanager
def alone() -> Generator[None]:
    """Hold the project, its registry, its experiments and DVC.

    Raises:
        BusyError: somebody is at work.
    """
    from flows.registry import registry_alone  # mlflow: 2 s

    busy = "an experiment is at work in this project; wait for it"
    with ExitStack() as all_of_them:
        all_of_them.enter_context(only_flow())
        all_of_them.enter_context(registry_alone())
        all_of_them.enter_context(_held(_LOCK, fcntl.LOCK_EX, busy))
        for maker in _MAKERS.glob("*"):  # one whose grid was killed may have some seconds left
            with _held(maker, fcntl.LOCK_SH, busy):
                pass
        all_of_them.enter_context(_dvc_alone())
        yield


@contextmanager
def _held(path: Path, how: int, otherwise: str) -> Generator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, how | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(otherwise) from None
        yield


@contextmanager
def _dvc_alone() -> Generator[None]:
    from dvc.lock import LockError
    from dvc.repo import Repo, lock_repo

    from flows.recovery import repair_dvc

    for line in repair_dvc():
        print(line, file=sys.stderr)
    with ExitStack() as held:
        try:
            held.enter_context(lock_repo(held.enter_context(Repo())))
        except LockError as error:
            raise BusyError(f"dvc: {error}") from None
        if _BUSY_PATHS.exists() and any(json.loads(_BUSY_PATHS.read_text()).values()):
            raise BusyError("a stage is at work in this project, by `dvc repro`; wait for it")
        yield

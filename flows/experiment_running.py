"""Experiments at work: as many processes as there are jobs, each in a workspace of its own.

Which one is next, and which one is not worth its time any more, is said by whoever runs them: a
grid knows them all from the start, a search makes each from what the others gave. Whoever is
stopped stops them all, and nothing that is done is lost.
"""

import fcntl
import os
import shutil
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from flows.experiment_record import Remembered, recall, remember
from flows.experiment_space import EXPERIMENTS
from flows.gc_alone import nothing_freed
from flows.grid import Combination, short_hash
from flows.group import BY_SIGNAL, Child, group, shell_status
from flows.workspace import BusyError
from wordmill.errors import ParamsError, TryAgainError
from wordmill.report.run_story import duration

_POLL_SECONDS = 0.2
_NAME_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


@dataclass(kw_only=True)
class Planned:
    """An experiment on its way."""

    number: int
    """From 1 on."""
    one: Combination
    place: Path
    """Its workspace, while it has one."""
    remembered: Remembered

    @property
    def memory(self) -> Path:
        """What outlives the workspace."""
        return self.place.with_name(f"{self.place.name}.experiment.json")

    @property
    def log(self) -> Path:
        """What its stages print."""
        return self.place.with_name(f"{self.place.name}.log")


class Supply(Protocol):
    """Who knows which experiments there are."""

    total: int

    def next(self) -> Planned | None:
        """One to begin now, with a workspace; None if there is none for now."""
        ...

    def why_end(self, one: Planned) -> str:
        """Why one that runs is not worth going on; empty if it is."""
        ...

    def ended(self, one: Planned) -> None:
        """Take what one has come to."""
        ...


def planned(number: int, one: Combination, *, group_name: str, taken_key: str) -> Planned:
    """An experiment as it is remembered, or a new one.

    Args:
        number: from 1 on.
        one: its params.
        group_name: of the grid or search.
        taken_key: of the snapshot of the project.
    """
    key = short_hash([taken_key, one.values])
    place = EXPERIMENTS / group_name / key
    file = place.with_name(f"{key}.experiment.json")
    remembered = recall(file) or Remembered(
        name=f"{group_name}-{key[:6]}", grid=group_name, key=key, changes=one.changes
    )
    return Planned(number=number, one=one, place=place, remembered=remembered)


def checked_name(name: str) -> str:
    """The name of a grid or search, which is a folder and part of git's references.

    Raises:
        ParamsError: it can't be one.
    """
    if not name or not set(name) <= _NAME_CHARS or name.startswith("-"):
        raise ParamsError(f"--name {name}: must be letters, digits, - and _")
    return name


def check_jobs(jobs: int) -> None:
    """See that there is at least one.

    Raises:
        ParamsError: there is none.
    """
    if jobs < 1:
        raise ParamsError(f"--jobs {jobs}: must be 1 or more")


@contextmanager
def only_runner(folder: Path) -> Generator[None]:
    """Hold a grid or a search.

    Raises:
        BusyError: another process does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with nothing_freed(), (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"{folder.name}: is at work already; wait for it") from None
        yield


def dvc_cache() -> Path:
    """The folder of DVC's cache that all experiments share."""
    from dvc.repo import Repo

    with Repo() as repo:
        return Path(repo.cache.local.path).parent.parent  # .dvc/cache/files/md5


def run_all(supply: Supply, *, jobs: int) -> None:
    """Run what there is, `jobs` at once; whoever stops this stops them all."""
    environment = dict(os.environ)
    if jobs > 1:
        environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
    running: dict[int, tuple[Planned, Child, ExitStack]] = {}
    with ExitStack() as all_running:
        try:
            while True:
                while len(running) < jobs and (new := supply.next()):
                    within = all_running.enter_context(ExitStack())
                    running[new.number] = (new, _started(new, environment, within), within)
                    tell(new, supply.total, "begun")
                if not running:
                    return
                for one, child, within in list(running.values()):
                    reason = "" if child.poll() is not None else supply.why_end(one)
                    if reason or child.returncode is not None:
                        within.close()
                        del running[one.number]
                        _ended(one, child.returncode, reason, supply.total)
                        supply.ended(one)
                time.sleep(_POLL_SECONDS)
        except BaseException:
            for _, child, _ in running.values():
                child.terminate()  # all at once: their groups are then waited for one by one
            raise


def tell(one: Planned, total: int, what: str) -> None:
    """Say what became of an experiment."""
    print(f"  {one.number}/{total} {one.remembered.name} ({one.one.label}): {what}", flush=True)


def done_words(found: Remembered) -> str:
    """How long it took, what it ran and what it gave."""
    ran = [stage for stage, verdict in found.stages.items() if verdict == "ran"]
    scores = ", ".join(f"{kind} {s['metric']} {s['value']:.4g}" for kind, s in found.scores.items())
    return f"done in {duration(found.seconds)}; ran {', '.join(ran) or 'no stage'}; {scores}"


def _started(one: Planned, environment: dict[str, str], within: ExitStack) -> Child:
    log = within.enter_context(one.log.open("a"))
    command = [sys.executable, "-m", "flows.experiment_run", str(one.place)]
    return within.enter_context(group(command, environment=environment, output=log))


def _ended(one: Planned, status: int, reason: str, total: int) -> None:
    """Remember how it ended.

    Args:
        one: it.
        status: of its process.
        reason: why it was ended; empty where it was not.
        total: of all experiments.
    """
    found = recall(one.memory)
    assert found is not None
    if found.status == "done":  # also where it was just faster than its end
        shutil.rmtree(one.place, ignore_errors=True)
        tell(one, total, done_words(found))
    elif reason:
        found.status, found.message = "pruned", reason
        remember(one.memory, found)
        _drop(one.place)
        tell(one, total, f"pruned: {reason}")
    else:
        if found.status == "begun":  # killed, or a fault of ours
            told = shell_status(status)
            # Killed or told to stop, it is tried again when the grid or the search is.
            found.exit_status = TryAgainError.exit_status if told > BY_SIGNAL else told
            found.message = f"its process ended with status {told}"
        found.status = "failed"
        remember(one.memory, found)
        tell(one, total, f"failed: {found.message}; see {one.log}")
    one.remembered = found


def _drop(place: Path) -> None:
    """Remove a workspace for good, and its checkpoints where nobody else goes on from them."""
    for own in (place / ".wordmill/scratch").glob("*"):
        kept = own.resolve()
        lock_file = kept.parents[1] / "locks" / kept.name
        with suppress(FileNotFoundError, BlockingIOError), lock_file.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(kept)
    shutil.rmtree(place, ignore_errors=True)

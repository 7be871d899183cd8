"""`wordmill experiment`: a grid of params, each combination in a workspace and process of its own.

What is done is remembered in `.wordmill/experiments/GRID`, so that the same command, started again
after any end, goes on where it was. An experiment is known by its params, the code and the data:
when one of these changes it is another one, and DVC's cache has what did not change of it.
"""

import fcntl
import os
import shutil
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from flows import dag
from flows.experiment_record import Remembered, recall, remember
from flows.experiment_space import EXPERIMENTS, make_workspace, snapshot
from flows.experiment_table import done_table, dry_table
from flows.grid import Combination, combinations, planned_keys, short_hash
from flows.group import Child, group
from flows.workspace import PARAMS
from wordmill.errors import ParamsError, TryAgainError
from wordmill.params.section import read_params
from wordmill.report.run_story import duration

_POLL_SECONDS = 0.2
_NAME_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


@dataclass(kw_only=True)
class _Planned:
    """An experiment on its way."""

    number: int
    one: Combination
    place: Path
    remembered: Remembered

    @property
    def memory(self) -> Path:
        return self.place.with_name(f"{self.place.name}.experiment.json")

    @property
    def log(self) -> Path:
        return self.place.with_name(f"{self.place.name}.log")


def experiment(
    asked: list[str], *, num_seeds: int | None, jobs: int, name: str | None, is_dry: bool
) -> int:
    """Run a grid, or what is left of it, and return the exit status.

    Args:
        asked: such as `pretrain.lr=1e-3,3e-4`.
        num_seeds: how many seeds from that of params.yaml on; None leaves it alone.
        jobs: experiments at once.
        name: of the grid; None makes one from what is asked.
        is_dry: only say what would run.

    Raises:
        ParamsError: what is asked is wrong, or there is no commit to stand on.
        TryAgainError: this grid is at work already, or MLflow does not answer.
    """
    if jobs < 1:
        raise ParamsError(f"--jobs {jobs}: must be 1 or more")
    values = read_params(PARAMS)
    found = combinations(asked, num_seeds=num_seeds, values=values)
    name = _checked_name(name or f"grid-{short_hash([asked, num_seeds])[:6]}")
    taken = snapshot([one.values for one in found])
    if is_dry:
        dvc_yaml, order = read_params(Path("dvc.yaml")), dag.stages_in_order()
        keys = [planned_keys(order, dag=dvc_yaml, values=one.values) for one in found]
        print(dry_table(name, [p.remembered for p in _plan(found, name, taken.key)], keys))
        return 0
    from flows.experiment_tracking import GridRuns  # 3 s, which mistakes need not wait for

    with _only_runner(EXPERIMENTS / name):
        planned = _plan(found, name, taken.key)
        left = [p for p in planned if p.remembered.status != "done"]
        runs = GridRuns(EXPERIMENTS / name, asked)
        for one in left:
            one.remembered.status = "begun"
            one.remembered.run_id = runs.run_of(one.remembered)
            remember(one.memory, one.remembered)
        cache = _dvc_cache()
        for one in left:
            if not one.place.exists():
                make_workspace(one.place, one.one, taken, cache=cache)
        print(f"{name}: {len(planned)} experiments, {len(planned) - len(left)} done before")
        try:
            _run_all(left, total=len(planned), jobs=min(jobs, max(1, len(left))))
        except BaseException:
            runs.end("KILLED")
            raise
        results = [p.remembered for p in planned]
        is_done = all(one.status == "done" for one in results)
        runs.end("FINISHED" if is_done else "FAILED")
    print(done_table(name, results))
    return next((one.exit_status or 1 for one in results if one.status != "done"), 0)


def _checked_name(name: str) -> str:
    if not name or not set(name) <= _NAME_CHARS or name.startswith("-"):
        raise ParamsError(f"--name {name}: must be letters, digits, - and _")
    return name


def _plan(found: list[Combination], grid: str, taken_key: str) -> list[_Planned]:
    return [_planned(i, one, grid, taken_key) for i, one in enumerate(found, start=1)]


def _planned(number: int, one: Combination, grid: str, taken_key: str) -> _Planned:
    key = short_hash([taken_key, one.values])
    place = EXPERIMENTS / grid / key
    file = place.with_name(f"{key}.experiment.json")
    remembered = recall(file) or Remembered(
        name=f"{grid}-{key[:6]}", grid=grid, key=key, changes=one.changes
    )
    return _Planned(number=number, one=one, place=place, remembered=remembered)


@contextmanager
def _only_runner(folder: Path) -> Generator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TryAgainError(f"{folder.name}: is at work already; wait for it") from None
        yield


def _dvc_cache() -> Path:
    from dvc.repo import Repo

    with Repo() as repo:
        return Path(repo.cache.local.path).parent.parent  # .dvc/cache/files/md5


def _run_all(left: list[_Planned], *, total: int, jobs: int) -> None:
    """Run what is left, `jobs` at once; whoever stops this stops them all."""
    environment = dict(os.environ)
    if jobs > 1:
        environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
    waiting = list(left)
    running: dict[int, tuple[_Planned, Child, ExitStack]] = {}
    with ExitStack() as all_running:
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    one = waiting.pop(0)
                    within = all_running.enter_context(ExitStack())
                    running[one.number] = (one, _started(one, environment, within), within)
                    _tell(one, total, "begun")
                for one, child, within in list(running.values()):
                    if child.poll() is not None:
                        within.close()
                        del running[one.number]
                        _ended(one, child.returncode, total)
                time.sleep(_POLL_SECONDS)
        except BaseException:
            for _, child, _ in running.values():
                child.terminate()  # all at once: their groups are then waited for one by one
            raise


def _started(one: _Planned, environment: dict[str, str], within: ExitStack) -> Child:
    log = within.enter_context(one.log.open("a"))
    command = [sys.executable, "-m", "flows.experiment_run", str(one.place)]
    return within.enter_context(group(command, environment=environment, output=log))


def _ended(one: _Planned, status: int, total: int) -> None:
    found = recall(one.memory)
    assert found is not None
    if found.status == "done":
        shutil.rmtree(one.place, ignore_errors=True)
        _tell(one, total, _done_words(found))
    else:
        if found.status == "begun":  # killed, or a fault of ours
            found.exit_status = status if status > 0 else 128 - status
            found.message = f"its process ended with status {found.exit_status}"
        found.status = "failed"
        remember(one.memory, found)
        _tell(one, total, f"failed: {found.message}; see {one.log}")
    one.remembered = found


def _done_words(found: Remembered) -> str:
    ran = [stage for stage, verdict in found.stages.items() if verdict == "ran"]
    scores = ", ".join(f"{kind} {s['metric']} {s['value']:.4g}" for kind, s in found.scores.items())
    return f"done in {duration(found.seconds)}; ran {', '.join(ran) or 'no stage'}; {scores}"


def _tell(one: _Planned, total: int, what: str) -> None:
    print(f"  {one.number}/{total} {one.remembered.name} ({one.one.label}): {what}", flush=True)

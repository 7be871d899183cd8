"""What a killed flow leaves behind, mended by the next one, which says so.

Two things need a hand: DVC's list of busy paths, and flow runs that Prefect believes to be
running. Whoever calls this holds the project (`workspace.only_flow`): no other flow of it lives.
MLflow's runs are ended in flows/tracking.py; half-written outputs go when their stage runs.
"""

import json
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psutil
from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Crashed

from flows.notify import tell
from flows.workspace import STATE, BusyError, only_one
from wordmill.errors import TryAgainError

if TYPE_CHECKING:
    from flows.tracking import Tracking

_BEGUN = STATE / "flows"
_DVC_FOLDER = Path(".dvc/tmp")
_OUTPUTS = Path("data")
_GONE = "its process was gone: it, or the machine, was killed"


@contextmanager
def begun(flow_run_id: UUID) -> Generator[None]:
    """Leave a mark while a flow is at work; a mark without a flow tells of a kill."""
    _BEGUN.mkdir(parents=True, exist_ok=True)
    mark = _BEGUN / str(flow_run_id)
    mark.touch()
    yield
    mark.unlink(missing_ok=True)  # not in a `finally`: the state is not told yet where one raises


def repair(mine: UUID, tracking: "Tracking") -> list[str]:
    """Mend what is left; returns a line for each kind of damage.

    Args:
        mine: the flow run that asks, which lives.
        tracking: the project's runs in MLflow.
    """
    return repair_runs(tracking) + repair_dvc() + repair_outputs() + repair_flow_runs(mine)


def repair_runs(tracking: "Tracking") -> list[str]:
    """End the runs in MLflow whose flow or grid is gone, and those of their stages."""
    from flows.experiment_tracking import end_left_behind  # MLflow; batches do without

    found: list[str] = []
    if left := tracking.close_left_behind():
        names = ", ".join(left)
        found.append(f"Repaired: MLflow runs of a killed flow were ended: {names}.")
    if left := end_left_behind(tracking):
        names = ", ".join(left)
        again = "started again, they go on"
        found.append(f"Repaired: MLflow runs of killed experiments were ended: {names}; {again}.")
    return found


def repair_dvc(folder: Path = _DVC_FOLDER) -> list[str]:
    """Take dead processes off DVC's list of busy paths.

    DVC leaves out processes that are gone by itself. It can't read a list that was cut off, and
    takes a zombie, or another process with the number of a dead one, for the owner.

    Raises:
        TryAgainError: somebody else holds the list.
    """
    path = folder / "rwlock"
    if not path.exists():
        return []
    from dvc.config import Config
    from dvc.lock import LockError, make_lock

    is_linked: bool = Config.from_cwd()["core"].get("hardlink_lock", False)
    guard = make_lock(str(folder / "rwlock.lock"), str(folder), hardlink_lock=is_linked)
    try:
        with guard:
            return _freed(path)
    except LockError as error:
        raise TryAgainError(f"dvc: {error}") from None


def _freed(path: Path) -> list[str]:
    try:
        busy: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        kept = _living(busy, path.stat().st_mtime)
    except (ValueError, TypeError, KeyError, AttributeError):
        path.unlink()
        return ["Repaired: DVC's list of busy paths was cut off; it is removed."]
    if kept == busy:
        return []
    path.write_text(json.dumps(kept), encoding="utf-8")
    return ["Repaired: DVC held paths busy for processes that are gone."]


def _living(busy: dict[str, Any], written_at: float) -> dict[str, Any]:
    def lives(owner: dict[str, Any]) -> bool:
        return _lives(owner["pid"], written_at)

    write = {path: owner for path, owner in busy.get("write", {}).items() if lives(owner)}
    readers = {path: list(filter(lives, them)) for path, them in busy.get("read", {}).items()}
    read = {path: them for path, them in readers.items() if them}
    kept = {"write": write, "read": read}
    return {name: paths for name, paths in kept.items() if paths or name in busy}


def _lives(pid: int, written_at: float) -> bool:
    try:
        process = psutil.Process(pid)
        is_same = process.create_time() <= written_at
        return is_same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def repair_outputs(folder: Path = _OUTPUTS) -> list[str]:
    """Remove half-written outputs, and put back what was moved aside for one that never came.

    Their names are those of `wordmill.files.replaced_folder`. A stage that somebody runs by hand
    holds its own lock, and is left alone.
    """
    told: list[str] = []
    found = [*folder.glob(".*.partial"), *folder.glob(".*.replaced")]
    for left in sorted(path for path in found if path.is_dir()):
        output = folder / left.stem.removeprefix(".")
        try:
            with only_one(output.name, otherwise="at work"):
                if left.suffix == ".replaced" and not output.exists():
                    left.rename(output)
                    told.append(f"Repaired: {output} was moved aside; it is back.")
                else:
                    shutil.rmtree(left)
                    told.append(f"Repaired: {left} was half-written; it is removed.")
        except BusyError:
            continue
    return told


def repair_flow_runs(mine: UUID) -> list[str]:
    """End the runs in Prefect whose flow is gone, and their tasks' runs."""
    marks = [mark for mark in _BEGUN.glob("*") if mark.name != str(mine)]
    if not marks:
        return []
    with get_client(sync_client=True) as client:
        names = [told for mark in marks if (told := end_gone(client, UUID(mark.name)))]
    for mark in marks:
        mark.unlink(missing_ok=True)
    return names


def end_gone(
    client: SyncPrefectClient, flow_run_id: UUID, *, flow: Flow[..., Any] | None = None
) -> str | None:
    """End a flow run unless it has ended, and tell people; returns a line that says so.

    It has crashed, or, where somebody has asked for that, is cancelled.

    Args:
        client: of Prefect's server.
        flow_run_id: the run, whose process is gone.
        flow: that it was a run of, where that was no retraining.
    """
    try:
        run = client.read_flow_run(flow_run_id)
    except ObjectNotFound:  # of another server, or deleted
        return None
    if run.state is None or run.state.is_final():
        return None
    is_cancelled = run.state.is_cancelling()
    ended = (Cancelled if is_cancelled else Crashed)(message=_GONE)
    client.set_flow_run_state(flow_run_id, ended, force=True)
    for task in client.read_task_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id])),
        task_run_filter=TaskRunFilter(
            state=TaskRunFilterState(
                type=TaskRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING])
            )
        ),
    ):
        client.set_task_run_state(task.id, Crashed(message=_GONE), force=True)
    tell(flow, run, ended)
    was = "being cancelled" if is_cancelled else "running"
    return f"Repaired: run {run.name} was still {was} in Prefect; {_GONE}."

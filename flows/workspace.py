"""Where a project lies and what its tools are told: one place for every address.

Whatever the user has set in the environment stands; the rest is kept inside the project.
"""

import fcntl
import json
import os
import shutil
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from wordmill.errors import DataError, OutputError, ParamsError, TryAgainError
from wordmill.files import replaced_file

PARAMS = Path("params.yaml")
STATE = Path(".wordmill")
GATE = Path("data/gate")
"""What the gate said last; see stages/gate.py."""

_UI_ADDRESSES = STATE / "ui.json"
_HEALTH_SECONDS = 1.0
_LEAST_FREE_BYTES = 20 << 20


def enter() -> None:
    """Check that this is a project's root and set the addresses that are not set.

    Raises:
        ParamsError: this folder is not a project's root.
    """
    if not PARAMS.exists() or not Path("dvc.yaml").exists():
        raise ParamsError(f"{Path.cwd()}: no params.yaml and dvc.yaml; run from the project's root")
    root = Path.cwd()
    settings = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{root}/mlflow.db",
        "MLFLOW_EXPERIMENT_NAME": "wordmill",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "PREFECT_HOME": str(root / ".prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # With threads that wait by spinning, training beside one busy process fell to a twentieth
        # of its steps; threads that sleep were no slower on a quiet machine (7 steps/s and 6.7).
        "OMP_WAIT_POLICY": "passive",
        # The temporary server took 11 to 15 s on a fresh home and more under load.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    }
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    # DVC runs stages as `python`: that has to be this one, also where no venv is activated.
    os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    if address := running_prefect():
        os.environ.setdefault("PREFECT_API_URL", address)


def artifact_root() -> str:
    """Where MLflow keeps artifacts, unless it is a server, which has a place of its own."""
    return os.environ.get("MLFLOW_DEFAULT_ARTIFACT_ROOT") or (Path.cwd() / "mlartifacts").as_uri()


class BusyError(TryAgainError):
    """Another process has what this one wants for itself; nothing is wrong."""


@contextmanager
def only_flow() -> Generator[None]:
    """Hold the project: one flow at a time changes it.

    Raises:
        BusyError: another one does.
    """
    with only_one("flow", otherwise="another flow is at work in this project"):
        yield


def is_held(lock_file: Path) -> bool:
    """Whether a process holds a lock; it is not taken."""
    try:
        with lock_file.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@contextmanager
def only_one(name: str, *, otherwise: str) -> Generator[None]:
    """Hold a lock of this project; the kernel gives it back when the process ends.

    Args:
        name: of the lock.
        otherwise: what to say where another process holds it.

    Raises:
        BusyError: another one holds it.
    """
    path = STATE / "locks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read() or "unknown"
            raise BusyError(f"{otherwise} (process {owner}); wait for it") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


@contextmanager
def announced_ui(*, prefect_api: str) -> Generator[None]:
    """Let flows find the Prefect server while it runs: they need not start one of their own."""
    with replaced_file(_UI_ADDRESSES) as partial:
        partial.write_text(json.dumps({"prefect_api": prefect_api}))
    try:
        yield
    finally:
        _UI_ADDRESSES.unlink(missing_ok=True)


def running_prefect() -> str | None:
    """The address of the server that this project's pages run on, None where none answers."""
    try:
        address = json.loads(_UI_ADDRESSES.read_text())["prefect_api"]
    except FileNotFoundError:
        return None
    import urllib.request  # 50 ms, for the few who need it
    from http.client import HTTPException

    try:
        with urllib.request.urlopen(f"{address}/health", timeout=_HEALTH_SECONDS) as page:
            is_ours = page.read(100) == b"true"  # another may be on the port of one that was killed
    except (OSError, HTTPException):
        return None
    return address if is_ours else None


def check_room() -> None:
    """See that there is room for what a flow writes down of itself, its stages' outputs apart.

    Without it Prefect's temporary server does not start, and is waited for.

    Raises:
        OutputError: there is none.
    """
    if (free := shutil.disk_usage(".").free) < _LEAST_FREE_BYTES:
        raise OutputError(f"{Path.cwd()}: {free >> 20} MiB are free on this disk; make room first")


def check_folders(folders: dict[str, str]) -> None:
    """See that the folders which DVC watches are there.

    Args:
        folders: by the key of params.yaml that names each.

    Raises:
        DataError: one is not.
    """
    for key, folder in folders.items():
        if not Path(folder).is_dir():
            raise DataError(f"{folder}: no such folder; make it, or name another under {key}")

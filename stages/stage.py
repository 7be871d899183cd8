"""What every stage does the same way: params in, one folder out, errors as exit statuses.

A stage runs as `python -m stages.NAME` from the project's root, by itself or under DVC. It
writes its one folder under a temporary name and renames it when it is complete. Two of the
same stage never run at once, and a stage whose parent dies ends too: DVC, killed alone, would
take its lock for stale and start a second one.
"""

import argparse
import fcntl
import importlib
import json
import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from stages.inputs import inputs_key
from wordmill.errors import DataError, TryAgainError, WordmillError
from wordmill.files import replaced_file, replaced_folder
from wordmill.params.section import Section, parse_params, read_params
from wordmill.progress import Show

PARAMS = Path("params.yaml")
_STATE = Path(".wordmill")
_WATCH_SECONDS = 0.5
_GRACE_SECONDS = 20.0

# How the flow that started a stage hears from it; see flows/pipeline.py.
_REPORT_VARIABLE = "WORDMILL_STAGE_REPORT"
_PROGRESS_VARIABLE = "WORDMILL_PROGRESS_SECONDS"
_PROGRESS_MARK = "··· "

# A process that trains beside the first one has a rank in one of these.
_RANK_VARIABLES = ("LOCAL_RANK", "NODE_RANK", "RANK", "SLURM_PROCID")

S = TypeVar("S", bound=Section)
log = logging.getLogger("stages")


class Stage:
    """One run of one stage."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.output = Path("data") / name
        self.report: dict[str, Any] = {"stage": name, "status": "failed"}
        # Not an import statement: all of params.yaml is checked before any stage works, but the
        # shape of other stages' sections is no input of this one, and must not rerun it.
        everything = importlib.import_module("wordmill.params.everything")
        self._params = parse_params(everything.Params, read_params(PARAMS), file=PARAMS)
        self.seed: int = self._params.seed

    def section(self, name: str, shape: type[S]) -> S:
        """A section of params.yaml."""
        found = getattr(self._params, name)
        assert isinstance(found, shape)
        return found

    def value(self, section: str, key: str) -> Any:
        """One value of another stage's section."""
        return getattr(getattr(self._params, section), key)

    def input(self, name: str) -> Path:
        """The folder that stage `name` made.

        Raises:
            DataError: it is not there.
        """
        folder = Path("data") / name
        if not folder.is_dir():
            raise DataError(f"{folder}: not there; run `dvc repro` or `python -m stages.{name}`")
        return folder

    @contextmanager
    def output_folder(self) -> Generator[Path]:
        """Yield a folder that becomes the stage's output when the block ends well."""
        with replaced_folder(self.output) as folder:
            yield folder

    @cached_property
    def scratch(self) -> Path:
        """Where this stage keeps checkpoints: a folder for each set of inputs and code."""
        return self._scratch_root / inputs_key(self.name)

    @property
    def memory(self) -> Path:
        """Where this stage keeps what its next run may build on."""
        return _STATE / self.name

    def clear_scratch(self) -> None:
        """Forget all checkpoints; the output is in its place."""
        shutil.rmtree(self._scratch_root, ignore_errors=True)

    def show(self, line: str) -> None:
        """Show a progress line: in place on a terminal, else marked, for a log to keep."""
        if not is_first():
            return
        if sys.stdout.isatty():
            print(f"\r\x1b[K{line}", end="\n" if "100%" in line else "", flush=True)
        else:
            print(f"{_PROGRESS_MARK}{line}", flush=True)

    @property
    def progress(self) -> dict[str, Any]:
        """Arguments for `Progress`: where lines go and how often."""
        seconds = 0.2 if sys.stdout.isatty() else float(os.environ.get(_PROGRESS_VARIABLE, "10"))
        show: Show = self.show
        return {"show": show, "every_seconds": seconds}

    @property
    def _scratch_root(self) -> Path:
        return _STATE / "scratch" / self.name


def run(name: str, main: Callable[[Stage], str], *, description: str | None) -> None:
    """Run a stage as a program and leave with its exit status.

    Args:
        name: of the stage.
        main: does the work and returns a line that says what was made.
        description: for --help.
    """
    argparse.ArgumentParser(prog=f"python -m stages.{name}", description=description).parse_args()
    time_of_day = "" if _REPORT_VARIABLE in os.environ else "%(asctime)s "  # a flow has its own
    logging.basicConfig(
        stream=sys.stdout,
        level=logging.INFO if is_first() else logging.WARNING,
        format=f"{time_of_day}%(message)s",
        datefmt="%H:%M:%S",
    )
    for noisy in ("absl", "alembic", "httpx", "lightning", "lightning.pytorch"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    sys.exit(_guarded(name, main))


def is_first() -> bool:
    """Whether this process speaks and writes for all that train together."""
    return not any(int(os.environ.get(name, "0")) for name in _RANK_VARIABLES)


def _guarded(name: str, main: Callable[[Stage], str]) -> int:
    if "DVC_STAGE" in os.environ:
        _end_with_parent()
    stage, started_at = None, time.monotonic()
    try:
        stage = Stage(name)
        with _only_one(name) if is_first() else nullcontext():
            message = main(stage)
        if not is_first():
            return 0
        seconds = time.monotonic() - started_at
        log.info("%s: %s (%.0f s) -> %s", name, message, seconds, stage.output)
        _tell_flow({**stage.report, "status": "done", "message": message, "seconds": seconds})
        return 0
    except WordmillError as error:
        report = stage.report if stage else {"stage": name, "status": "failed"}
        if is_first():
            _tell_flow({**report, "message": str(error), "exit_status": error.exit_status})
        print(f"\n{name}: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print(f"\n{name}: interrupted; nothing half-written is left", file=sys.stderr)
        return 128 + signal.SIGINT


def _tell_flow(report: dict[str, Any]) -> None:
    if place := os.environ.get(_REPORT_VARIABLE):
        with replaced_file(Path(place)) as partial:
            partial.write_text(json.dumps(report))


@contextmanager
def _only_one(name: str) -> Generator[None]:
    path = _STATE / "locks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TryAgainError(
                "this stage is running already in this folder; wait for it"
            ) from None
        yield


def _end_with_parent() -> None:
    """End this process when the one that started it is gone: first gently, then not."""
    parent = os.getppid()

    def watch() -> None:
        while _is_with(parent):
            time.sleep(_WATCH_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_GRACE_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def _is_with(parent: int) -> bool:
    # DVC starts a stage in its own group: a parent of another group has taken in an orphan.
    try:
        return os.getppid() == parent and os.getpgid(parent) == os.getpgrp()
    except ProcessLookupError:
        return False

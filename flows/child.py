"""Runs one DVC stage as a child that never outlives its flow: `python -m flows.child STAGE`.

The child leads a process group that holds DVC and the stage. It watches the flow that started
it; when that is gone, it ends the group: SIGTERM, so that training writes a checkpoint, and
SIGKILL for what is still there after a while.
"""

import logging
import os
import signal
import sys
import threading
import time

from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.repo.reproduce import reproduce

from wordmill.errors import OutputError, TryAgainError

GRACE_SECONDS = 20.0
_WATCH_SECONDS = 0.5
FORCE = "--force"


_flow_is_gone = threading.Event()


def main(stage: str, *, is_forced: bool) -> int:
    """Reproduce one stage and return the exit status."""
    logging.getLogger("dvc").setLevel(logging.WARNING)  # its hints are for those who type
    signal.signal(signal.SIGTERM, _on_sigterm)
    threading.Thread(target=_end_group_with, args=(os.getppid(),), daemon=True).start()
    try:
        with Repo() as repo:
            reproduce(repo, stage, single_item=True, force=is_forced)
    except LockError as error:
        print(f"dvc: {error}", file=sys.stderr)
        return TryAgainError.exit_status
    except DvcException as error:
        print(f"dvc: {error.__cause__ or error}", file=sys.stderr)
        return OutputError.exit_status
    return 0


def _on_sigterm(*_: object) -> None:
    if not _flow_is_gone.is_set():  # else it comes from the watch below, which still has work
        sys.exit(128 + signal.SIGTERM)


def _end_group_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_WATCH_SECONDS)
    _flow_is_gone.set()
    os.killpg(0, signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], is_forced=FORCE in sys.argv[2:]))

"""Process groups that end with whoever started them.

Retries and handlers do not cover a dead process: a flow that is killed would leave its
server, DVC and the trainer behind. So each such child leads a process group, the starter ends
the group when it is done with it, and the leader ends the group when the starter is gone:
SIGTERM, on which training writes a checkpoint, and SIGKILL for what is left after a while.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import IO

GRACE_SECONDS = 20.0
_WATCH_SECONDS = 0.5
_POLL_SECONDS = 0.05

Child = subprocess.Popen[str]


@contextmanager
def group(
    command: list[str], *, environment: dict[str, str], output: int | IO[str] | None = None
) -> Generator[Child]:
    """Start a command as the leader of its own group; the group has ended when the block ends.

    Args:
        command: the program, which calls `lead`.
        environment: of the program.
        output: where standard output and error go together; None leaves them as they are.
    """
    child = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output is not None else None,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        yield child
    finally:
        _end(child)


def lead() -> None:
    """In the child: leave on SIGTERM without a traceback, and end with the starter."""
    exit_on_sigterm()
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def exit_on_sigterm() -> None:
    """Leave on SIGTERM as on any exit: with every `finally`, with status 143."""

    def leave(*_: object) -> None:
        sys.exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, leave)


def _end_with(starter: int) -> None:
    while os.getppid() == starter:
        time.sleep(_WATCH_SECONDS)
    os.killpg(0, signal.SIGTERM)
    time.sleep(2 * GRACE_SECONDS)  # the leader may itself be ending a group
    os.killpg(0, signal.SIGKILL)


def _end(child: Child) -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        _signal(child, sign)
        deadline = time.monotonic() + GRACE_SECONDS
        while _signal(child, 0):  # 0 only asks whether any process of the group is left
            if time.monotonic() > deadline:
                break
            child.poll()
            time.sleep(_POLL_SECONDS)


def _signal(child: Child, sign: int) -> bool:
    try:
        os.killpg(child.pid, sign)
    except ProcessLookupError:
        return False
    return True

"""Process groups that end with whoever started them.

Retries and handlers do not cover a dead process: a flow that is killed would leave its
server, DVC and the trainer behind. So each such child leads a process group. The starter ends
the group when it is done with it: SIGTERM, on which training writes a checkpoint, and SIGKILL
for what is left after a while. The leader ends itself when the starter is gone, which its own
children see in turn; a stage does the same (stages/stage.py).
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import IO, Any, Protocol, TypeVar

import psutil

BY_SIGNAL = 128
"""A program that leaves on a signal says so as a shell would: this and the signal's number."""
GRACE_SECONDS = 20.0
# Read in the child: by the time it asks for its parent, the parent may be gone.
_STARTER_VARIABLE = "WORDMILL_STARTER"
_PASS_ON = signal.SIGUSR1
_WATCH_SECONDS = 0.5
_POLL_SECONDS = 0.05


class Child(Protocol):
    """A process that leads a group: a `subprocess.Popen`, or one that was forked for us."""

    @property
    def pid(self) -> int: ...
    @property
    def stdout(self) -> IO[str] | None: ...
    @property
    def returncode(self) -> Any: ...  # as Popen has it: None while it runs
    def poll(self) -> int | None: ...
    def wait(self) -> int: ...
    def terminate(self) -> None: ...
    def send_signal(self, sig: int, /) -> None: ...


C = TypeVar("C", bound=Child)


@contextmanager
def group(
    command: list[str],
    *,
    environment: dict[str, str],
    source: int | IO[str] | socket.socket = subprocess.DEVNULL,
    output: int | IO[str] | None = None,
    grace_seconds: float = GRACE_SECONDS,
) -> Generator[Child]:
    """Start a command as the leader of its own group; the group has ended when the block ends.

    Args:
        command: the program, which calls `lead`.
        environment: of the program.
        source: where standard input comes from.
        output: where standard output and error go together; None leaves them as they are.
        grace_seconds: time between SIGTERM and SIGKILL.
    """
    child = subprocess.Popen(
        command,
        env={**environment, _STARTER_VARIABLE: str(os.getpid())},
        stdin=source.fileno() if isinstance(source, socket.socket) else source,
        stdout=output,
        stderr=subprocess.STDOUT if output is not None else None,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    with ended(child, grace_seconds=grace_seconds):
        yield child


def status_of(command: list[str]) -> int:
    """Run a flow in a group of its own; returns its exit status as a shell would say it."""
    # The flow may need one grace to end its stage, and then some to say so.
    with group(command, environment=dict(os.environ), grace_seconds=2 * GRACE_SECONDS) as flow:
        status = flow.wait()
    return shell_status(status)


def shell_status(status: int) -> int:
    """A process's exit status as a shell says it: of a signal, 128 and its number.

    Args:
        status: as Python has it: of a signal, its number below 0.
    """
    return status if status >= 0 else BY_SIGNAL - status


@contextmanager
def ended(child: C, *, grace_seconds: float = GRACE_SECONDS) -> Generator[C]:
    """End a child's group when the block ends."""
    try:
        yield child
    finally:
        end(child, grace_seconds=grace_seconds)
        if child.stdout is not None:
            child.stdout.close()


def lead(starter: int | None = None, *, is_at_work: bool = False) -> None:
    """In the child: leave on SIGTERM without a traceback, and end with the starter.

    On SIGUSR1 it stays, and its own children get SIGTERM.

    Args:
        starter: its process id; None takes the one that `group` has told.
        is_at_work: it does the work itself: on SIGUSR1 it leaves as on SIGTERM.
    """
    exit_on_sigterm()
    signal.signal(_PASS_ON, _to_itself if is_at_work else _to_children)
    parent = int(os.environ[_STARTER_VARIABLE]) if starter is None else starter
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def exit_on_sigterm() -> None:
    """Leave on SIGTERM, or when the terminal closes, as on any exit: with every `finally`."""

    def leave(number: int, _: object) -> None:
        sys.exit(BY_SIGNAL + number)

    for sign in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, leave)


def _end_with(starter: int) -> None:
    while os.getppid() == starter:
        time.sleep(_WATCH_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(2 * GRACE_SECONDS)  # only if the leader hangs is there anyone to wake up here
    os.killpg(0, signal.SIGKILL)


def pass_sigterm_on(child: Child) -> None:
    """SIGTERM to what is at work below the leader, or to one that works itself."""
    if child.poll() is None:
        child.send_signal(_PASS_ON)


def _to_itself(_number: int, _frame: object) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def _to_children(_number: int, _frame: object) -> None:
    # Not the whole group: workers that end before their trainer spoil its last checkpoint.
    for process in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            process.terminate()


def end(child: Child, *, grace_seconds: float = GRACE_SECONDS) -> None:
    """End a group: its leader, then the rest, at last without mercy."""
    # The leader first and alone: a flow that ends tells its server, which is in its group.
    child.terminate()
    _wait_while(lambda: child.poll() is None, grace_seconds)
    for sign in (signal.SIGTERM, signal.SIGKILL):
        _signal(child, sign)
        _wait_while(lambda: _is_left(child), grace_seconds)


def _wait_while(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while condition() and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def _is_left(child: Child) -> bool:
    child.poll()  # a leader that has ended counts until it is waited for
    return _signal(child, 0)


def _signal(child: Child, sign: int) -> bool:
    try:
        os.killpg(child.pid, sign)
    except ProcessLookupError:
        return False
    return True

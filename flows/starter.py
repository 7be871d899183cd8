"""Starts the processes that run stages through DVC: forks of one that has DVC imported.

Six starts of a process that imports DVC take longer than DVC takes for six trivial stages. What
is started here is what flows/group.py would start: the leader of a group, with its output piped.
"""

import json
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import IO

from flows.group import Child, ended, group

_NUMBER_BYTES = 4
_POLL_SECONDS = 0.5
_GRACE_SECONDS = 1.0  # of the process that forks: no stage runs in it


class Forked:
    """A process that another one has forked for us, as `subprocess.Popen` would show it."""

    def __init__(self, orders: socket.socket, pid: int, stdout: IO[str]) -> None:
        self.pid, self.stdout = pid, stdout
        self.returncode: int | None = None
        self._orders, self._asking = orders, threading.Lock()

    def poll(self) -> int | None:
        """The exit status, None while it runs."""
        return self._heard(0.0)

    def wait(self) -> int:
        """Wait for the end; returns the exit status."""
        while (status := self._heard(_POLL_SECONDS)) is None:
            pass
        return status

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def send_signal(self, sig: int, /) -> None:
        """Send a signal unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, sig)

    def _heard(self, seconds: float) -> int | None:
        # Not the whole wait in the lock: another thread may have to end this process.
        if self.returncode is None and select.select([self._orders], [], [], seconds)[0]:
            with self._asking:
                if self.returncode is None and select.select([self._orders], [], [], 0.0)[0]:
                    self.returncode = _number(self._orders)
        return self.returncode


class Starter:
    """Starts stages' processes, one at a time, until its block ends."""

    def __init__(self) -> None:
        self._within = ExitStack()
        self._orders: socket.socket | None = None

    def __enter__(self) -> "Starter":
        self._begin()  # DVC is imported while the flow gets ready
        return self

    def __exit__(self, *_: object) -> None:
        self._within.close()

    @contextmanager
    def child(
        self, stage: str, *, is_forced: bool, environment: dict[str, str]
    ) -> Generator[Child]:
        """Start the process that runs a stage; its group has ended when the block ends."""
        order = {"stage": stage, "is_forced": is_forced, "environment": environment}
        reading, writing = os.pipe()
        with open(reading, errors="replace") as output:  # noqa: PTH123 - a descriptor
            try:
                orders, pid = self._ordered(json.dumps(order).encode(), writing)
            finally:
                os.close(writing)
            with ended(Forked(orders, pid, output)) as child:
                yield child

    def _ordered(self, order: bytes, output: int) -> tuple[socket.socket, int]:
        """Give an order, to a new process if the one that was there has been killed."""
        try:
            return self._given(order, output)
        except (BrokenPipeError, ConnectionResetError):
            self._begin()
            return self._given(order, output)

    def _given(self, order: bytes, output: int) -> tuple[socket.socket, int]:
        assert self._orders is not None
        socket.send_fds(self._orders, [len(order).to_bytes(_NUMBER_BYTES, "big")], [output])
        self._orders.sendall(order)
        pid = _number(self._orders)
        if pid < 0:
            raise ConnectionResetError
        return self._orders, pid

    def _begin(self) -> None:
        self._within.close()
        mine, theirs = socket.socketpair()
        self._within.enter_context(mine)
        with theirs:
            command = [sys.executable, "-m", "flows.child"]
            environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
            started = group(
                command, environment=environment, source=theirs, grace_seconds=_GRACE_SECONDS
            )
            self._within.enter_context(started)
        self._orders = mine


def _number(orders: socket.socket) -> int:
    """A number that was told; -9, as of a process that was killed, where nobody tells any more."""
    try:
        told = orders.recv(_NUMBER_BYTES, socket.MSG_WAITALL)
    except ConnectionResetError:
        told = b""
    if len(told) < _NUMBER_BYTES:
        return -signal.SIGKILL
    return int.from_bytes(told, "big", signed=True)

"""Runs stages through DVC, each in a group that ends with its flow: `python -m flows.child`.

DVC takes half a second to import, so it is imported once a run, here, and a process is forked for
each stage: it leads a group of its own and begins with nothing of the stages before it. Orders
come over a socket (flows/starter.py), each with where the output goes. No thread may run in the
process that forks.
"""

import json
import logging
import os
import select
import signal
import socket
import struct
import sys
import traceback
from typing import Any, NoReturn

from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.repo.reproduce import reproduce
from dvc.stage.exceptions import MissingDataSource, StageCmdFailedError, StageFileDoesNotExistError

from flows.group import exit_on_sigterm, lead
from wordmill.errors import DataError, OutputError, TryAgainError

NUMBER = struct.Struct("!i")


def serve(orders: socket.socket) -> None:
    """Take orders until the flow closes its end or is gone.

    Args:
        orders: gives the length of an order with the output's descriptor, and the order as JSON;
            takes the process id, and the exit status when it has ended.
    """
    exit_on_sigterm()
    ended, told = os.pipe()
    os.set_blocking(told, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # so that the next line is told of it
    signal.set_wakeup_fd(told)
    while order := _order(orders):
        length, outputs = order
        asked = json.loads(orders.recv(length, socket.MSG_WAITALL))
        starter, child = os.getpid(), os.fork()
        if child == 0:
            orders.close()  # else the flow would not hear that this process is gone
            _run(asked, starter, *outputs)
        for output in outputs:
            os.close(output)
        orders.sendall(NUMBER.pack(child))
        while (status := _status_of(child)) is None:
            ready, _, _ = select.select([ended, orders], [], [])
            if orders in ready:  # nothing is ordered while a stage runs: the flow has gone
                return
            os.read(ended, 1024)
        orders.sendall(NUMBER.pack(status))


def _order(orders: socket.socket) -> tuple[int, list[int]] | None:
    head, outputs, _, _ = socket.recv_fds(orders, NUMBER.size, 1)
    return (NUMBER.unpack(head)[0], outputs) if head else None


def _status_of(child: int) -> int | None:
    found, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def _run(asked: dict[str, Any], starter: int, output: int) -> NoReturn:
    """In the forked process: run a stage as a program of its own would, and leave."""
    status = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for stream, end in ((os.open(os.devnull, os.O_RDONLY), 0), (output, 1), (output, 2)):
            os.dup2(stream, end)
        os.environ.clear()
        os.environ.update(asked["environment"])
        lead(starter)
        status = main(asked["stage"], is_forced=asked["is_forced"])
    except SystemExit as left:
        status = left.code if isinstance(left.code, int) else 1
    except Exception:  # noqa: BLE001  it may not go on as a second server of orders
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main(stage: str, *, is_forced: bool) -> int:
    """Reproduce one stage and return the exit status."""
    logging.getLogger("dvc").setLevel(logging.WARNING)  # its hints are for those who type
    try:
        with Repo() as repo:
            reproduce(repo, stage, single_item=True, force=is_forced)
    except DvcException as error:
        cause = error.__cause__ or error
        print(f"dvc: {cause}", file=sys.stderr)
        return _status(cause)
    return 0


def _status(cause: BaseException) -> int:
    match cause:
        case LockError():
            return TryAgainError.exit_status
        case MissingDataSource() | StageFileDoesNotExistError():
            return DataError.exit_status
        case StageCmdFailedError():  # the stage has said why, or it is our own fault
            return 1
        case _:
            return OutputError.exit_status


if __name__ == "__main__":
    serve(socket.socket(fileno=os.dup(0)))

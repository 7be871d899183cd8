"""How a flow ends: as a state in Prefect, and as an exit status in a shell."""

import sys
from typing import Any

from prefect import State
from prefect.states import Cancelled, Completed, Failed

from flows.cancel import CancelError
from flows.workspace import BusyError
from wordmill.errors import WordmillError


def ended_by(error: WordmillError) -> State[int]:
    """The last state of a flow that an error ended; its result is the exit status."""
    if isinstance(error, BusyError):
        return Completed(name="Skipped", message=str(error), data=error.exit_status)
    kind = Cancelled if isinstance(error, CancelError) else Failed
    return kind(message=str(error), data=error.exit_status)


def exit_status(state: State[Any]) -> int:
    """The exit status of a flow that ran as a program; one that is not 0 is explained."""
    status = state.result(raise_on_failure=False)
    if not isinstance(status, int):  # the flow itself broke; Prefect has shown where
        return 1
    if status:
        print(f"wordmill: {state.message}", file=sys.stderr)
    return status

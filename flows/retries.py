"""What is tried again, and after how long: by what went wrong, not by habit.

A server that does not answer, a kill and a lack of memory pass; bad data, bad params and a full
disk do not, nor does a stage that its budget has stopped.
"""

import math
import os
from typing import Any

from prefect import State

from flows.pipeline import Outcome
from wordmill.errors import ParamsError

RETRIES = 3
JITTER = 0.5  # a wait is drawn between once and one and a half times its length
_GROWTH = 4

# What goes over a network: a server that was away needs longer than a killed process.
BATCH = "batch"
_FETCHING = ("ingest", "tokenize", "push", BATCH)
_FIRST_WAIT_SECONDS = {True: 10.0, False: 1.0}
_FIRST_WAIT_VARIABLE = "WORDMILL_RETRY_SECONDS"


def waits(stage: str) -> list[float]:
    """Seconds before each retry of a stage, without jitter.

    Raises:
        ParamsError: the environment's first wait is none.
    """
    told = os.environ.get(_FIRST_WAIT_VARIABLE)
    first = _seconds(told) if told else _FIRST_WAIT_SECONDS[stage in _FETCHING]
    return [first * _GROWTH**number for number in range(RETRIES)]


def _seconds(told: str) -> float:
    try:
        seconds = float(told)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ParamsError(f"{_FIRST_WAIT_VARIABLE} is {told}; it has to be seconds, such as 0.5")
    return seconds


def may_pass(_task: Any, _run: Any, state: State[Any]) -> bool:
    """Whether a stage that ended in this state is tried again."""
    return isinstance(state.data, Outcome) and state.data.may_pass

"""Prefect's cancel, for a run that was begun in a terminal.

A run of a schedule or a worker is ended by whoever started it. Of one begun by hand Prefect only
notes the wish, as the state `Cancelling`. So such a flow asks for its own state while it works, and
sends itself the signal that ends it, its stage and all below.
"""

import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from uuid import UUID

from httpx import HTTPError
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound, TerminationSignal
from prefect.runtime import deployment
from prefect.settings import PREFECT_API_URL

from wordmill.errors import WordmillError

_POLL_SECONDS = 3.0


class CancelError(WordmillError):
    """Somebody has cancelled the run on Prefect's page."""

    exit_status = 128 + signal.SIGTERM


@contextmanager
def cancellable(flow_run_id: UUID) -> Generator[None]:
    """End the block when the run is cancelled.

    Without a server of its own a run has no page that could cancel it: nobody is asked.

    Raises:
        CancelError: it was.
    """
    if deployment.id is not None or not PREFECT_API_URL.value():
        yield
        return
    is_over, is_cancelled, turn = threading.Event(), threading.Event(), threading.Lock()

    def watch() -> None:
        with get_client(sync_client=True) as client:
            while not is_over.wait(_POLL_SECONDS):
                if _is_wanted(client, flow_run_id):
                    break
        with turn:  # the signal comes within the block or not at all
            if not is_over.is_set():
                is_cancelled.set()
                os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
    try:
        try:
            yield
        finally:
            with turn:
                is_over.set()
    except TerminationSignal:
        if is_cancelled.is_set():
            raise CancelError("cancelled on Prefect's page; what is done stays done") from None
        raise


def _is_wanted(client: SyncPrefectClient, flow_run_id: UUID) -> bool:
    try:
        state = client.read_flow_run(flow_run_id).state
    except (HTTPError, ObjectNotFound):  # a server that is away cancels nothing
        return False
    return state is not None and (state.is_cancelling() or state.is_cancelled())

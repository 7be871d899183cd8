"""`wordmill retrain` with nothing to do: said at once, where it is sure.

Where a Prefect server is set it is told next: a finished run named «Nothing new», as the flow
itself would leave it. A temporary server takes 15 s to start, and only to hear that nothing
happened: without a server it is said on the terminal alone.
"""

import os
import sys
import time
from pathlib import Path

from flows.commit import has_changes
from flows.last_end import LastEnd, still_stands
from flows.workspace import only_flow
from wordmill.errors import WordmillError

_API = "PREFECT_API_URL"
_HOME_PROFILES = "profiles.toml"
# Files in the project where Prefect looks for an address, too.
_SETTINGS = (Path(".env"), Path("prefect.toml"))
_PYPROJECT = Path("pyproject.toml")


def is_said(*, is_committed: bool, is_pushed: bool) -> bool:
    """Say that nothing is new; False where that is in doubt, and nothing was said.

    Args:
        is_committed: results that are not yet in git are something to do.
        is_pushed: so are those that the last run has not pushed.
    """
    started_at = time.monotonic()
    try:
        with only_flow():
            found = still_stands()
            if found is None or (is_pushed and not found.is_pushed):
                return False
            if is_committed and has_changes():
                return False
            print(found.text(time.monotonic() - started_at), flush=True)
            if _may_have_server():
                _tell_prefect(found)
    except WordmillError:  # busy, or git is: the flow says so, to Prefect as well
        return False
    return True


def _may_have_server() -> bool:
    """Whether an address is set, or may be, in one of Prefect's own places."""
    if _API in os.environ or "PREFECT_PROFILE" in os.environ:
        return True
    home = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    is_in_project = _PYPROJECT.exists() and "tool.prefect" in _PYPROJECT.read_text("utf-8")
    places = (home / _HOME_PROFILES, *_SETTINGS)
    return is_in_project or any(place.exists() for place in places)


def _tell_prefect(found: LastEnd) -> None:
    """Leave a finished run, if a server turns out to be set."""
    from httpx import HTTPError
    from prefect import State, flow
    from prefect.runtime import flow_run
    from prefect.settings import get_current_settings
    from prefect.states import Completed

    from flows.artifacts import leave_note
    from flows.recovery import begun

    @flow(name="retrain", persist_result=False)
    def nothing_new() -> State[int]:
        with begun(flow_run.id):
            leave_note(found.model, headline=found.headline, rest=found.rest)
            return Completed(name="Nothing new", message=found.headline, data=0)

    address = get_current_settings().api.url
    if address is None:
        return
    try:
        nothing_new(return_state=True)
    except (HTTPError, RuntimeError) as error:
        why = type(error).__name__
        print(f"wordmill: Prefect at {address} was not told of it: {why}", file=sys.stderr)

"""How things stood when the last run ended well, and whether all of it stands still.

`wordmill retrain` asks here first: that nothing is new can then be said in half a second, without
MLflow or Prefect. Nothing is concluded from the record but that nothing has changed since. What
differs from it, can't be read, or needs repair is a doubt, and a doubt takes the long way.
"""

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from flows.changes import Look
from flows.doubt import DoubtError
from flows.outside import moved_on
from flows.workspace import PARAMS, STATE, is_held
from wordmill.errors import WordmillError
from wordmill.files import replaced_file, write_json

if TYPE_CHECKING:
    from flows.summary import Summary
    from wordmill.params.everything import Params

RECORD = STATE / "last_end.json"
_FORMAT = 1
_BEGUN = STATE / "flows"
_GRIDS = STATE / "experiments"  # see flows/experiment_tracking.py and experiment_running.py
_BUSY_PATHS = Path(".dvc/tmp/rwlock")
_DECIDED_BY = (PARAMS, Path("dvc.yaml"), Path("dvc.lock"))
_PROMOTIONS = Path("registry")
_ADDRESSES = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_WORKSPACE")

_SQLITE = "sqlite:///"
_WAIT_SECONDS = 0.1
# All columns: what they mean is MLflow's to know, here they are only held against each other.
_TABLES = (
    "registered_models",
    "registered_model_aliases",
    "registered_model_tags",
    "model_versions",
    "model_version_tags",
)
_LEFT_RUNNING = (
    "SELECT count(*) FROM runs JOIN tags ON tags.run_uuid = runs.run_uuid"
    " WHERE runs.status = 'RUNNING' AND tags.key = 'wordmill.workspace' AND tags.value = ?"
)
_RUNNING = (
    "SELECT count(*) FROM runs"
    " WHERE run_uuid = ? AND status = 'RUNNING' AND lifecycle_stage = 'active'"
)


class LastEnd(NamedTuple):
    """What a run with nothing to do has to say."""

    model: str
    """The registered model's name."""
    headline: str
    is_pushed: bool
    """Whether its run pushed all it had to DVC's remote."""
    rest: str
    """Scores, places and next steps, as the flow's own summary has them."""

    def text(self, seconds: float) -> str:
        """The summary for a terminal."""
        return f"\n{self.headline} ({seconds:.0f} s)\n\n{self.rest}"


def remember(summary: "Summary", params: "Params") -> None:
    """Write down how a run ended. The caller holds the project's lock.

    Args:
        summary: of the run; one that failed or stopped, or whose version waits for somebody or
            for the gate, leaves no record.
        params: what the run began with; edited since, they leave no record.
    """
    RECORD.unlink(missing_ok=True)
    if summary.failed or summary.stopped or summary.held_because or summary.standing is None:
        return
    from flows.summary import Summary
    from wordmill.params.everything import Params
    from wordmill.params.section import parse_params, read_params

    quiet = Summary(model=summary.model, standing=replace(summary.standing, is_new=False))
    _, _, rest = quiet.text().lstrip("\n").partition("\n\n")
    told = {"model": summary.model, "headline": quiet.headline, "rest": rest}
    told |= {"is_pushed": summary.is_pushed}
    try:
        found = {**_as_it_is(summary.model), **told}
        if parse_params(Params, read_params(PARAMS), file=PARAMS) == params:
            with replaced_file(RECORD) as partial:
                write_json(partial, found)
    except (OSError, DoubtError, WordmillError):
        return  # the next run takes the long way


def still_stands() -> LastEnd | None:
    """What to say where nothing has changed since a run ended well; None where that is in doubt.

    The caller holds the project's lock.
    """
    try:
        known: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8"))
        model = str(known["model"])
        now = {**known, **_as_it_is(model)}
        if now != known or _needs_repair() or _has_changed():
            return None
        return LastEnd(**{name: known[name] for name in LastEnd._fields})
    except (OSError, ValueError, KeyError, TypeError, DoubtError, WordmillError):
        return None


def _as_it_is(model: str) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "project": str(Path.cwd()),
        "files": {str(file): _hash(file.read_bytes()) for file in _DECIDED_BY},
        "flows": _together(Path(__file__).parent.glob("*.py")),  # other code may find work
        "promotions": _together(file for file in _PROMOTIONS.rglob("*") if file.is_file()),
        "addresses": _hash(repr([os.environ.get(name) for name in _ADDRESSES]).encode()),
        "registry": _registry(model),
    }


def _together(files: Iterable[Path]) -> str:
    """One hash of files' names and contents."""
    return _hash(repr([(str(file), _hash(file.read_bytes())) for file in sorted(files)]).encode())


def _registry(model: str) -> str:
    """All that MLflow's tables say of the model and its versions, as one hash."""
    with _store() as tables:
        try:
            rows = [
                sorted(map(repr, tables.execute(f"SELECT * FROM {name} WHERE name = ?", (model,))))
                for name in _TABLES
            ]
        except sqlite3.Error as error:
            raise DoubtError(f"MLflow's tables can't be read: {error}") from None
    return _hash(repr(rows).encode())


def _needs_repair() -> bool:
    """Whether the flow would find something to mend (flows/recovery.py, flows/tracking.py)."""
    with _store() as tables:
        try:
            ((left,),) = tables.execute(_LEFT_RUNNING, (str(Path.cwd()),))
            has_left = bool(left) or _has_killed_grid(tables)
        except sqlite3.Error as error:
            raise DoubtError(f"MLflow's tables can't be read: {error}") from None
    return has_left or any(_BEGUN.glob("*")) or _has_busy_paths()


def _has_killed_grid(tables: sqlite3.Connection) -> bool:
    for file in _GRIDS.glob("*/mlflow-run"):
        ((is_running,),) = tables.execute(_RUNNING, (file.read_text(encoding="utf-8"),))
        if is_running and not is_held(file.with_name("lock")):
            return True
    return False


def _has_busy_paths() -> bool:
    return _BUSY_PATHS.exists() and json.loads(_BUSY_PATHS.read_text(encoding="utf-8")) != {}


def _has_changed() -> bool:
    look = Look()
    if any(look.reasons(stage) for stage in look.needs):
        return True
    look.save()
    return bool(moved_on(look.params.get("ingest", {})))


def _store() -> "closing[sqlite3.Connection]":
    address = os.environ.get("MLFLOW_TRACKING_URI", "")
    path = Path(address.removeprefix(_SQLITE))
    if not address.startswith(_SQLITE) or "MLFLOW_REGISTRY_URI" in os.environ or not path.is_file():
        raise DoubtError("MLflow's store is no file of this machine")
    try:
        uri = f"{path.resolve().as_uri()}?mode=ro"
        return closing(sqlite3.connect(uri, uri=True, timeout=_WAIT_SECONDS))
    except sqlite3.Error as error:
        raise DoubtError(f"MLflow's store can't be opened: {error}") from None


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

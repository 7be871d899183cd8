"""Which MLflow run made an output, looked up without MLflow: it takes seconds to import.

Reads the tables of a store in SQLite. Of any other store, or one of another shape, nothing is
told here; the flow asks MLflow itself (flows/tracking.py).
"""

import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

_SCHEME = "sqlite:///"
_WAIT_SECONDS = 0.1
# The stage's own run where it has one; else the first pipeline run that had this output.
_QUERIES = (
    ("wordmill.output", "DESC"),
    ("dvc.{stage}", "ASC"),
)


def makers_of(hashes: dict[str, str]) -> dict[str, str]:
    """The run that made each output, where one is known.

    Args:
        hashes: DVC's of the outputs, by stage.
    """
    address = os.environ.get("MLFLOW_TRACKING_URI", "")
    store = Path(address.removeprefix(_SCHEME))
    if not hashes or not address.startswith(_SCHEME) or not store.is_file():
        return {}
    try:
        with closing(
            sqlite3.connect(f"{store.resolve().as_uri()}?mode=ro", uri=True, timeout=_WAIT_SECONDS)
        ) as tables:
            found = {stage: _maker(tables, stage, made) for stage, made in hashes.items()}
    except sqlite3.Error:
        return {}
    return {stage: run for stage, run in found.items() if run}


def _maker(tables: sqlite3.Connection, stage: str, made: str) -> str | None:
    for tag, order in _QUERIES:
        rows: Iterable[tuple[str]] = tables.execute(
            "SELECT runs.run_uuid FROM tags JOIN runs ON runs.run_uuid = tags.run_uuid"
            " JOIN experiments ON experiments.experiment_id = runs.experiment_id"
            " WHERE tags.key = ? AND tags.value = ? AND runs.lifecycle_stage = 'active'"
            f" AND experiments.name = ? ORDER BY runs.start_time {order} LIMIT 1",
            (tag.format(stage=stage), made, os.environ.get("MLFLOW_EXPERIMENT_NAME", "")),
        )
        for (run,) in rows:
            return run
    return None

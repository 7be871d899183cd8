"""The MLflow runs of a grid: one parent, and a child for each experiment, taken up where left."""

from contextlib import suppress
from pathlib import Path

from mlflow.exceptions import MlflowException

from flows.experiment_record import Point, Remembered
from flows.experiment_running import only_runner
from flows.experiment_space import EXPERIMENTS
from flows.servers import has_store
from flows.tracking import Tracking, answering
from flows.workspace import BusyError, only_flow
from wordmill.files import replaced_file

# As a stage that trains logs them, see wordmill/training/monitor.py.
_LOSS, _BITS = "validation_loss", "validation_bits_per_byte"
_RUN_FILE = "mlflow-run"
_GONE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


class GridRuns:
    """The runs of one grid.

    Args:
        folder: of the grid, which remembers its run.
        asked: the axes, as they were typed.

    Raises:
        TryAgainError: MLflow does not answer.
    """

    def __init__(self, folder: Path, asked: list[str]) -> None:
        with answering():
            self._tracking = _tracking()
            file = folder / _RUN_FILE
            parent = self._taken_up(file.read_text() if file.exists() else None, "RUNNING")
            if parent is None:
                tags = {"wordmill.grid": folder.name, "wordmill.asked": " ".join(asked)}
                parent = self._created(folder.name, tags)
                with replaced_file(file) as partial:
                    partial.write_text(parent)
        self._parent = parent

    def run_of(self, one: Remembered) -> str:
        """The run of an experiment, which waits for its process."""
        with answering():
            found = self._taken_up(one.run_id, "SCHEDULED")
            if found is None:
                tags = {"mlflow.parentRunId": self._parent, "wordmill.experiment": one.name}
                found = self._created(one.name, tags)
                self._tracking.client.update_run(found, status="SCHEDULED")
            return found

    def curves_of(self, run_id: str) -> dict[str, list[Point]]:
        """The validations so far of the stages that run for an experiment; none if MLflow is away.

        Args:
            run_id: of the experiment.
        """
        try:
            runs = self._tracking.children_of(run_id)  # the newest first
            return {
                run.data.tags["wordmill.stage"]: self._validations(run.info.run_id)
                for run in reversed(runs)
                if _LOSS in run.data.metrics
            }
        except MlflowException:
            return {}

    def tag(self, run_id: str | None, tags: dict[str, str]) -> None:
        """Say something of an experiment's run, or of the parent's: None."""
        with answering():
            self._tracking.tag(run_id or self._parent, tags)

    def pruned(self, run_id: str, why: str) -> None:
        """End the run of an experiment that was not worth going on, and say why."""
        with answering():
            self._tracking.tag(run_id, {"wordmill.pruned": why})
            self._tracking.client.set_terminated(run_id, "KILLED")

    def end(self, status: str) -> None:
        """End the grid's run, and what a kill has left open below it."""
        with answering():
            self._tracking.end_children(self._parent)
            self._tracking.client.set_terminated(self._parent, status)

    def _validations(self, run_id: str) -> list[Point]:
        losses, bits = (
            {m.step: m.value for m in self._tracking.client.get_metric_history(run_id, name)}
            for name in (_LOSS, _BITS)
        )
        return [(step, losses[step], bits.get(step)) for step in sorted(losses)]

    def _created(self, name: str, tags: dict[str, str]) -> str:
        experiment = self._tracking.experiment_id
        return self._tracking.client.create_run(experiment, run_name=name, tags=tags).info.run_id

    def _taken_up(self, run_id: str | None, status: str) -> str | None:
        """Open a run again, None if the store has it no more."""
        client = self._tracking.client
        try:
            if run_id is None or client.get_run(run_id).info.lifecycle_stage != "active":
                return None
        except MlflowException as error:
            if error.error_code in _GONE:
                return None
            raise
        client.update_run(run_id, status=status)
        return run_id


def end_left_behind(tracking: Tracking) -> list[str]:
    """End the runs of grids and searches that a kill left open; returns the grids' names.

    One that is started again takes its runs up.
    """
    ended: list[str] = []
    for file in sorted(EXPERIMENTS.glob(f"*/{_RUN_FILE}")):
        if not tracking.is_running(file.read_text()):  # a grid that starts now finds it free
            continue
        with suppress(BusyError), only_runner(file.parent):
            if tracking.end_with_children(file.read_text()):
                ended.append(file.parent.name)
    return ended


def _tracking() -> Tracking:
    """A fresh store is migrated under the project's lock: several at once would crash it."""
    if has_store():
        return Tracking()
    with only_flow():
        return Tracking()

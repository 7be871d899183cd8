"""What a kill of a grid leaves in MLflow, against a real store."""

import pytest

from flows import experiment_tracking
from flows.experiment_running import only_runner
from flows.experiment_space import EXPERIMENTS
from flows.experiment_tracking import GridRuns, end_left_behind
from flows.tracking import Tracking


@pytest.fixture
def tracking(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "small")
    found = Tracking()
    monkeypatch.setattr(experiment_tracking, "_tracking", lambda: found)
    return found


def test_runs_of_a_killed_grid_end_and_are_taken_up_again(tracking):
    def begun(name, parent=None, status="RUNNING"):
        tags = {"mlflow.parentRunId": parent} if parent else {}
        client = tracking.client
        run_id = client.create_run(tracking.experiment_id, run_name=name, tags=tags).info.run_id
        client.update_run(run_id, status=status)
        return run_id

    def status(run_id):
        return tracking.client.get_run(run_id).info.status

    folder = EXPERIMENTS / "hunt"
    with only_runner(folder):
        GridRuns(folder, ["pretrain.lr=1e-3,3e-4"])
        parent = (folder / "mlflow-run").read_text()
        waits = begun("hunt-1", parent, "SCHEDULED")
        works = begun("hunt-2", parent)
        trains = begun("pretrain", works)
        done = begun("hunt-3", parent, "FINISHED")
        alien = begun("someone's")
        assert end_left_behind(tracking) == []  # the grid is at work
        assert status(parent) == "RUNNING"
    assert end_left_behind(tracking) == ["hunt"]
    assert {status(one) for one in (parent, waits, works, trains)} == {"KILLED"}
    assert (status(done), status(alien)) == ("FINISHED", "RUNNING")
    assert end_left_behind(tracking) == []
    again = GridRuns(folder, [])
    assert status(parent) == "RUNNING"
    killed = begun("hunt-4", parent)  # its process, and the grid went on
    failed = begun("hunt-5", parent, "FAILED")
    stages = [begun("finetune", one) for one in (killed, failed)]
    again.end("FAILED")
    assert {status(one) for one in (parent, failed)} == {"FAILED"}
    assert {status(one) for one in (killed, *stages)} == {"KILLED"}
    assert status(done) == "FINISHED"
    tracking.client.delete_run(parent)
    assert end_left_behind(tracking) == []

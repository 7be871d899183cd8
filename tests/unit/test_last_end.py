"""That nothing is new is said at once only where it is sure; whatever differs is a doubt."""

import fcntl
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from conftest import ROOT

from flows import last_end, nothing_new
from flows.last_end import RECORD, remember, still_stands
from flows.pipeline import Outcome
from flows.registry import Standing
from flows.summary import Summary
from wordmill.params.everything import Params
from wordmill.params.section import parse_params, read_params

TABLES = """
CREATE TABLE registered_models (name, last_updated_time);
CREATE TABLE registered_model_aliases (alias, version, name);
CREATE TABLE registered_model_tags (key, value, name);
CREATE TABLE model_versions (name, version, run_id);
CREATE TABLE model_version_tags (key, value, name, version);
CREATE TABLE runs (run_uuid, status, lifecycle_stage);
CREATE TABLE tags (run_uuid, key, value);
INSERT INTO registered_models VALUES ('m', 1);
INSERT INTO registered_model_aliases VALUES ('champion', 1, 'm');
INSERT INTO model_versions VALUES ('m', 1, 'r');
INSERT INTO runs VALUES ('r', 'FINISHED', 'active');
"""


@pytest.fixture
def changes(monkeypatch) -> list[str]:
    """Why a stage would run; the look itself is held against DVC in tests/flows/test_explain.py."""
    reasons: list[str] = []

    class Look:
        def __init__(self):
            self.needs, self.params = {"stage": []}, {}

        def reasons(self, _stage):
            return reasons

        def save(self):
            pass

    monkeypatch.setattr(last_end, "Look", Look)
    return reasons


@pytest.fixture
def project(tmp_path, monkeypatch, changes) -> Path:
    """A project whose last run ended well."""
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_REGISTRY_URI", "PREFECT_API_URL", "PREFECT_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / ".prefect"))
    Path("params.yaml").write_text((ROOT / "params.yaml").read_text())
    Path("dvc.yaml").write_text("stages: {}")
    Path("dvc.lock").write_text("{}")
    Path("data/evaluate").mkdir(parents=True)
    record = {"documents": {}, "pairs": {}, "primary": {}, "num_documents": 0, "num_pairs": {}}
    Path("data/evaluate/scores.json").write_text(json.dumps(record))
    sql(TABLES)
    remember(ended_well(), params())
    return tmp_path


def sql(script: str) -> None:
    with closing(sqlite3.connect("mlflow.db")) as tables:
        tables.executescript(script)


def params() -> Params:
    return parse_params(Params, read_params(Path("params.yaml")), file=Path("params.yaml"))


def ended_well() -> Summary:
    standing = Standing(version="1", alias="champion", is_new=True, champion="1", run_id="r")
    return Summary(model="m", standing=standing, pipeline_run="r")


def test_what_has_not_changed_is_told_as_the_flow_would(project):
    found = still_stands()
    assert found is not None
    said = Summary(
        model="m",
        standing=Standing(version="1", alias="champion", is_new=False, champion="1", run_id="r"),
        seconds=3.2,
    )
    assert found.text(3.2) == said.text()
    assert found.headline.startswith("nothing new")


DOUBTS: dict[str, Callable[[], object]] = {
    "a comment in params.yaml": lambda: Path("params.yaml").write_text(
        f"{Path('params.yaml').read_text()}# x\n"
    ),
    "dvc.yaml": lambda: Path("dvc.yaml").write_text("stages:\n  {}"),
    "dvc.lock": lambda: Path("dvc.lock").write_text("{ }"),
    "no dvc.lock": lambda: Path("dvc.lock").unlink(),
    "another champion": lambda: sql("UPDATE registered_model_aliases SET version = 2"),
    "no champion": lambda: sql("DELETE FROM registered_model_aliases"),
    "a version deleted": lambda: sql("DELETE FROM model_versions"),
    "a version's tag": lambda: sql("INSERT INTO model_version_tags VALUES ('k', 'v', 'm', 1)"),
    "tables of another shape": lambda: sql("DROP TABLE model_version_tags"),
    "no store": lambda: Path("mlflow.db").unlink(),
    "a store that is none": lambda: Path("mlflow.db").write_text("x" * 5000),
    "an MLflow run left running": lambda: sql(
        "INSERT INTO runs VALUES ('k', 'RUNNING', 'active');"
        f"INSERT INTO tags VALUES ('k', 'wordmill.workspace', '{Path.cwd()}')"
    ),
    "a grid that was killed": lambda: grid("RUNNING"),
    "a flow that was killed": lambda: (
        Path(".wordmill/flows").mkdir(parents=True),
        Path(".wordmill/flows/x").touch(),
    ),
    "a busy path": lambda: write(".dvc/tmp/rwlock", '{"write": {"/x": {"pid": 1}}}'),
    "a list of busy paths that was cut off": lambda: write(".dvc/tmp/rwlock", ""),
    "a promotion": lambda: write("registry/promotions.jsonl", "{}"),
    "no record": lambda: RECORD.unlink(),
    "half a record": lambda: RECORD.write_text(RECORD.read_text()[:200]),
    "a record of another kind": lambda: RECORD.write_text("[]"),
    "an older record": lambda: RECORD.write_text(RECORD.read_text().replace('"rest"', '"text"')),
}


def grid(status: str, stage: str = "active") -> None:
    write(".wordmill/experiments/hunt/mlflow-run", "g")
    Path(".wordmill/experiments/hunt/lock").touch()
    sql(f"INSERT INTO runs VALUES ('g', '{status}', '{stage}')")


def write(path: str, text: str) -> None:
    Path(path).parent.mkdir(parents=True)
    Path(path).write_text(text)


@pytest.mark.parametrize("doubt", DOUBTS)
def test_whatever_differs_is_a_doubt(project, doubt):
    assert still_stands() is not None
    DOUBTS[doubt]()
    assert still_stands() is None


def test_what_is_no_difference(project):
    write(".dvc/tmp/rwlock", "{}")
    sql("INSERT INTO model_versions VALUES ('another model', 1, 'r')")
    assert still_stands() is not None


@pytest.mark.parametrize(("status", "stage"), [("KILLED", "active"), ("RUNNING", "deleted")])
def test_a_grid_that_has_ended_is_no_doubt(project, status, stage):
    grid(status, stage)
    assert still_stands() is not None


def test_a_grid_at_work_is_no_doubt(project):
    grid("RUNNING")
    with Path(".wordmill/experiments/hunt/lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert still_stands() is not None
    assert still_stands() is None


def test_a_stage_that_would_run_and_another_store_are_doubts(project, changes, monkeypatch):
    changes.append("data in data/raw: 1 file new: x")
    assert still_stands() is None
    changes.clear()
    assert still_stands() is not None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert still_stands() is None


def test_other_code_of_the_flows_is_a_doubt(project, tmp_path, monkeypatch):
    monkeypatch.setattr(last_end, "__file__", str(tmp_path / "flows/last_end.py"))
    assert still_stands() is None


def test_only_a_run_that_ended_well_is_remembered(project):
    failed = Outcome(stage="ingest", verdict="failed", why=[], message="x")
    remember(Summary(model="m", outcomes=[failed], pipeline_run="r"), params())
    assert still_stands() is None
    remember(ended_well(), params())
    assert still_stands() is not None
    begun = params()
    Path("params.yaml").write_text(
        Path("params.yaml").read_text().replace("seed: 20260", "seed: 2")
    )
    remember(ended_well(), begun)  # edited while the run was at work
    assert still_stands() is None


def test_a_version_that_waits_for_the_gate_is_looked_at_again(project):
    summary = ended_well()
    summary.held_because = "gate: stopped, the time is over; the next start asks it again"
    remember(summary, params())
    assert still_stands() is None


def test_without_a_server_it_is_said_on_the_terminal(project, capsys, monkeypatch):
    told: list[object] = []
    monkeypatch.setattr(nothing_new, "_tell_prefect", told.append)
    assert nothing_new.is_said(is_committed=False, is_pushed=False)
    assert "nothing new" in capsys.readouterr().out
    assert told == []
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    assert nothing_new.is_said(is_committed=False, is_pushed=False)
    assert len(told) == 1


@pytest.mark.parametrize("file", [".prefect/profiles.toml", ".env", "prefect.toml"])
def test_an_address_may_stand_in_prefects_own_places(project, monkeypatch, file):
    assert not nothing_new._may_have_server()
    (project / file).parent.mkdir(exist_ok=True)
    (project / file).touch()
    assert nothing_new._may_have_server()


def test_what_is_to_be_kept_takes_the_long_way(project, monkeypatch, capsys):
    assert not nothing_new.is_said(is_committed=False, is_pushed=True)
    monkeypatch.setattr(nothing_new, "has_changes", lambda: True)
    assert not nothing_new.is_said(is_committed=True, is_pushed=False)
    assert capsys.readouterr().out == ""
    summary = ended_well()
    summary.is_pushed = True
    remember(summary, params())
    monkeypatch.setattr(nothing_new, "has_changes", lambda: False)
    assert nothing_new.is_said(is_committed=True, is_pushed=True)


def test_a_flow_at_work_takes_the_long_way(project):
    with nothing_new.only_flow():
        assert not nothing_new.is_said(is_committed=False, is_pushed=False)

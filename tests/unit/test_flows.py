"""The pure parts of the flows: no server, no DVC, no MLflow."""

import json

import pytest
from conftest import ROOT

from flows import dag, outside, reasons
from flows.pipeline import Outcome, _outcome
from flows.registry import Standing
from flows.summary import Summary
from wordmill.params.everything import Params
from wordmill.params.section import parse_params, read_params


def test_stages_come_after_what_they_need(monkeypatch):
    monkeypatch.chdir(ROOT)
    order = ["ingest", "clean", "tokenize", "pretrain", "finetune", "baselines", "evaluate"]
    assert dag.stages_in_order() == order


def test_a_changed_param_is_told_with_both_values():
    locked = {"finetune": {"lr": 0.1, "steps": 5, "gone": 1}, "seed": 1}
    values = {"finetune": {"lr": 0.2, "steps": 5, "new": [1]}, "seed": 2}
    assert reasons.changed_params(locked, values, ["finetune", "seed"]) == [
        "finetune.gone went from 1 to None",
        "finetune.lr went from 0.1 to 0.2",
        "finetune.new went from None to [1]",
        "seed went from 1 to 2",
    ]


REPORT = {"message": "made", "run_id": "r"}


@pytest.mark.parametrize(
    ("status", "report", "last_line", "verdict", "exit_status", "may_pass"),
    [
        (0, REPORT, "", "ran", 0, False),
        (0, None, "", "restored", 0, False),
        (73, {**REPORT, "exit_status": 65}, "dvc: exited with 65", "failed", 65, False),
        (73, {**REPORT, "exit_status": 75}, "dvc: exited with 75", "failed", 75, True),
        (73, None, "dvc: failed to run: x, exited with -9", "failed", -9, True),
        (73, None, "dvc: failed to run: x, exited with 1", "failed", 73, False),
        (-15, None, "", "failed", -15, True),
        (75, None, "dvc: locked", "failed", 75, True),
    ],
)
def test_what_became_of_a_stage(status, report, last_line, verdict, exit_status, may_pass):
    found = _outcome("clean", [], status, report, last_lines=[last_line], seconds=1.0)
    assert (found.verdict, found.exit_status) == (verdict, exit_status)
    assert found.may_pass == may_pass


def test_another_python_asks_for_a_new_ingest(tmp_path, monkeypatch):
    params = parse_params(Params, read_params(ROOT / "params.yaml"), file=ROOT / "params.yaml")
    monkeypatch.setattr(outside, "_RECORD", tmp_path / "sources.json")
    assert outside.sources_that_moved_on(params.ingest) == []
    (tmp_path / "sources.json").write_text(json.dumps({"outside": {"python-docs": "CPython 3.0"}}))
    (line,) = outside.sources_that_moved_on(params.ingest)
    assert line.startswith("python-docs moved from CPython 3.0 to ")


def test_a_failure_is_told_with_its_message():
    failed = Outcome(stage="ingest", verdict="failed", why=["x is new"], message="x:3: broken")
    text = Summary(model="m", outcomes=[failed], pipeline_run="r").text()
    assert "ingest failed: x:3: broken" in text
    assert "Nothing was registered" in text


def test_a_challenger_is_told_with_the_way_to_promote_it():
    standing = Standing(version="2", alias="challenger", is_new=True, champion="1", run_id="r")
    summary = Summary(model="m", standing=standing, pipeline_run="r")
    assert (
        summary.headline
        == "ran no stage; models:/m/2, registered, challenger; champion is version 1"
    )
    assert "wordmill promote 2" in summary._next_steps()

"""The gate's job: both models scored, and the report with the champion in it."""

import json
import shutil
from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from conftest import ROOT, SMALL_PARAMS, run_in
from sample_record import empty_record, empty_surroundings, full_record

from flows.gate import SEED_NOISE, gate
from flows.seed_noise import seed_noise
from stages.gate import _changed, _scored
from wordmill.comparing.result import Result
from wordmill.errors import DataError, ParamsError
from wordmill.evaluation.comparison import set_hash
from wordmill.gate.contest import UnfitError, blaming
from wordmill.gate.evidence import CHAMPION
from wordmill.gate.verdict import gate_lines
from wordmill.params.evaluate import EvaluateParams
from wordmill.params.everything import Params
from wordmill.params.section import parse_params, read_params
from wordmill.report.page import page


@pytest.fixture(scope="module")
def evaluated(make_project):
    """A project whose stages have run; as many as the gate's job reads."""
    project = make_project("gated")
    for stage in ("ingest", "clean", "tokenize", "pretrain", "finetune", "baselines", "evaluate"):
        done = run_in(project, "python", "-m", f"stages.{stage}")
        assert done.returncode == 0, done.stderr
    return project


def run_gate(project, champion, *, challenger=None):
    version = {"version": "2", "max_source_tokens": 32}
    folder = challenger or project / "data/finetune/model"
    asked = {
        "challenger": {**version, "folder": str(folder)},
        "champion": {**version, "version": "1", "folder": str(champion)},
        "champion_error": "",
        "evaluation": str(project / "data/evaluate"),
        "seed_deviations": {},
    }
    (project / ".wordmill/gate.json").write_text(json.dumps(asked))
    return run_in(project, "python", "-m", "stages.gate")


def ask(project, champion):
    done = run_gate(project, champion)
    assert done.returncode == 0, done.stderr
    return json.loads((project / "data/gate/verdict.json").read_text())


def said(verdict, rule):
    return [one for one in verdict["findings"] if one["rule"] == rule]


@pytest.mark.slow
def test_the_job_scores_both_on_the_same_and_decides(evaluated, tmp_path):
    worse = evaluated / "data/baselines/lstm"
    verdict = ask(evaluated, worse)
    record = json.loads((evaluated / "data/gate/scores.json").read_text())
    before = json.loads((evaluated / "data/evaluate/scores.json").read_text())
    # What the LSTM had as a baseline it has as the champion: the same examples, alike decoded.
    (found,) = said(verdict, "primary")
    ours, theirs = (record["pairs"]["summarize"][s]["rougeL"] for s in ("finetuned", CHAMPION))
    assert theirs == before["pairs"]["summarize"]["lstm"]["rougeL"]
    assert ours == before["pairs"]["summarize"]["finetuned"]["rougeL"]
    assert found["figures"]["gain"] == pytest.approx(ours["value"] - theirs["value"])
    assert found["decision"] == "PROMOTE"
    assert verdict["champion"] == "1"
    assert verdict["sets"]["summarize"] == before["identity"]["summarize"]
    # The rest of the record stays; the report shows both and the decision.
    assert record["pairs"]["summarize"]["lead"] == before["pairs"]["summarize"]["lead"]
    assert all(CHAMPION in example["predictions"] for example in record["examples"])
    html = (evaluated / "data/gate/report.html").read_text()
    assert f"Gate: {verdict['decision'].lower()}" in html
    assert "Gate: " + verdict["decision"] in gate_lines(verdict)

    same = tmp_path / "same"
    shutil.copytree(evaluated / "data/finetune/model", same)
    tie = ask(evaluated, same)
    assert tie["decision"] == "HOLD"
    assert said(tie, "primary")[0]["said"].startswith("a tie")

    weights = same / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    ours = run_gate(evaluated, worse, challenger=same)  # no fault of the champion's
    assert ours.returncode == DataError.exit_status, ours.stderr
    assert str(same) in ours.stderr
    broken = ask(evaluated, same)
    assert (broken["decision"], broken["champion"]) == ("HOLD", "1")
    assert "can't be loaded" in said(broken, "champion")[0]["said"]
    assert said(broken, "primary") == []


def test_a_set_that_is_another_or_gone_is_named():
    decoding = SMALL_PARAMS["evaluate"]["decoding"]
    params = EvaluateParams.model_validate(SMALL_PARAMS["evaluate"])
    kinds = ("documents", "summarize", "translate")
    identity = {kind: set_hash(["a"]) for kind in kinds} | {"decoding": decoding}
    record = {"identity": identity, "primary": dict.fromkeys(kinds, "")}
    one, other = SimpleNamespace(id="a"), SimpleNamespace(id="b")
    sets = SimpleNamespace(documents=[one], tasks={"summarize": [other]})
    assert _changed(record, sets, params) == ["the summarize held out", "the translate held out"]
    sets.tasks = {"summarize": [one], "translate": [one]}
    assert _changed(record, sets, params) == []


@pytest.mark.parametrize("system", [CHAMPION, "finetuned"])
def test_only_the_champions_faults_hold_a_challenger(monkeypatch, system):
    def away(*_, **__):
        with blaming(system):
            raise ParamsError("it can't say as much as is asked")

    monkeypatch.setattr("stages.gate._contender", Mock())
    monkeypatch.setattr("stages.gate.Contest", away)
    asked = {"champion_error": "", "champion": {}}
    score = partial(_scored, Mock(progress={}), asked, Mock(), Mock(), Mock(), Mock())
    if system == CHAMPION:
        assert score() == (None, {}, "it can't say as much as is asked")
    else:
        with pytest.raises(UnfitError):
            score()


def test_nobody_is_measured_against_a_damaged_champion(monkeypatch, tmp_path):
    def check(_registry, number):
        raise DataError(f"version {number} of small: model.safetensors has changed")

    monkeypatch.chdir(tmp_path)
    found = SimpleNamespace(folder=tmp_path, settings={"max_source_tokens": 8})
    monkeypatch.setattr("flows.gate.located", lambda *_: nullcontext(found))
    monkeypatch.setattr("flows.gate.evaluation_of", lambda _: nullcontext(tmp_path))
    monkeypatch.setattr("flows.gate.check_stored", check, raising=False)
    monkeypatch.setattr("flows.gate.run_stage", lambda *_, **__: Mock(verdict="ran"))
    (tmp_path / "data/gate").mkdir(parents=True)
    (tmp_path / "data/gate/verdict.json").write_text('{"decision": "HOLD"}')
    params = parse_params(Params, read_params(ROOT / "params.yaml"), file=ROOT / "params.yaml")
    gate(Mock(), params)("2", "1")
    asked = json.loads((tmp_path / ".wordmill/gate.json").read_text())
    assert "version 1 of small: model.safetensors has changed" in asked["champion_error"]
    assert asked["champion"]["folder"] == ""


def test_the_first_version_has_a_verdict_and_a_report_too(monkeypatch, tmp_path):
    record = full_record()
    record["identity"] |= {"summarize": "a", "answer": "b"}
    evaluation = tmp_path / "evaluation"
    evaluation.mkdir()
    (evaluation / "scores.json").write_text(json.dumps(record))
    (evaluation / "surroundings.json").write_text(json.dumps(empty_surroundings()))
    monkeypatch.chdir(tmp_path)
    found = SimpleNamespace(folder=evaluation)
    monkeypatch.setattr("flows.gate.located", lambda *_: nullcontext(found))
    monkeypatch.setattr("flows.gate.evaluation_of", lambda _: nullcontext(evaluation))
    registry = Mock()
    params = parse_params(Params, read_params(ROOT / "params.yaml"), file=ROOT / "params.yaml")
    params.registry.gate.floors["documents/bits_per_byte"] = 0.1
    verdict = gate(registry, params)("1", None)
    assert (verdict["decision"], verdict["champion"]) == ("REJECT", None)
    assert json.loads((tmp_path / "data/gate/verdict.json").read_text()) == verdict
    assert "there is no champion to beat" in (tmp_path / "data/gate/report.html").read_text()
    assert gate_lines(verdict).startswith("Gate: REJECT, version 1, no champion to beat\n  REJECT")
    registry.tag.assert_called_once_with("1", "wordmill.gate", "REJECT")
    registry.client.log_artifacts.assert_called_once()


def result(name, value, *, seed, lr="0.001", ids="a"):
    scores = {"finetuned": {"rougeL": {"value": value}}}
    record = {
        "primary": {"summarize": "rougeL"},
        "documents": {},
        "pairs": {"summarize": scores},
        "identity": {"summarize": ids},
    }
    params = {"seed": str(seed), "pretrain.lr": lr}
    return Result(name=name, record=record, answers={}, params=params, data={}, origin={})


def measured(monkeypatch, results, tmp_path):
    monkeypatch.setattr("flows.seed_noise.located_results", lambda _: results)
    seed_noise("noise", out=tmp_path / SEED_NOISE)
    return json.loads((tmp_path / SEED_NOISE).read_text())["deviations"]


def test_seed_noise_is_the_deviation_over_seeds(monkeypatch, tmp_path):
    runs = [result(f"r{n}", value, seed=n) for n, value in enumerate((10.0, 11.0, 12.0))]
    assert measured(monkeypatch, runs, tmp_path) == {"summarize/rougeL": 1.0}


@pytest.mark.parametrize(
    ("third", "told"),
    [
        (None, "at least 3"),
        (result("c", 3.0, seed=3, lr="0.1"), "differ in pretrain.lr"),
        (result("c", 3.0, seed=3, ids="b"), "other held-out sets"),
    ],
)
def test_seed_noise_is_of_one_recipe_and_one_set(monkeypatch, tmp_path, third, told):
    runs = [result("a", 1.0, seed=1), result("b", 2.0, seed=2), *([third] if third else [])]
    with pytest.raises(ParamsError, match=told):
        measured(monkeypatch, runs, tmp_path)


def test_a_page_without_a_gate_says_nothing_of_one():
    assert 'id="gate"' not in page(empty_record(), empty_surroundings())

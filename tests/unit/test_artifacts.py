"""The page of a run, and what git's log says of it."""

import json
from pathlib import Path

import pytest

from flows import artifacts, keeping
from flows.pipeline import Outcome
from flows.registry import Standing
from flows.summary import Summary


def record(value: float, *, documents: str = "set 1", beams: int = 1) -> dict:
    score = {"value": value, "low": value - 1, "high": value + 1, "count": 3, "signature": "s"}
    return {
        "identity": {
            "documents": documents,
            "summarize": "set 2",
            "decoding": {"num_beams": beams},
            "context_tokens": 64,
            "stride_tokens": 32,
        },
        "primary": {"documents": "bits_per_byte", "summarize": "rougeL"},
        "documents": {"finetuned": {"bits_per_byte": score}},
        "pairs": {"summarize": {"finetuned": {"rougeL": score}}},
    }


@pytest.fixture
def summary(tmp_path, monkeypatch) -> Summary:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    Path("data/evaluate").mkdir(parents=True)
    Path("data/evaluate/scores.json").write_text(json.dumps(record(2.0)))
    outcomes = [
        Outcome(stage="clean", verdict="reused", why=[], message="nothing changed"),
        Outcome(stage="finetune", verdict="ran", why=["a|b"], message="made", run_id="r2"),
    ]
    standing = Standing(version="2", alias="challenger", is_new=True, champion="1", run_id="r")
    return Summary(
        model="small",
        outcomes=outcomes,
        standing=standing,
        pipeline_run="r",
        makers={"clean": "r1"},
    )


def page(summary: Summary) -> str:
    return "\n\n".join(artifacts._page(summary))


def test_a_page_says_what_ran_and_why_and_where_things_are(summary, monkeypatch):
    monkeypatch.setattr(artifacts, "_scores_of", lambda *_: None)
    said = page(summary)
    assert "| clean | reused: nothing changed | nothing changed | 0 s | `r1` |" in said
    assert "| finetune | ran: made | a\\|b | 0 s | `r2` |" in said
    assert "The scores of version 1 are no longer in DVC's cache." in said
    assert "- MLflow run: `r`" in said
    assert "- version: `models:/small/2` challenger; champion is version 1" in said
    assert "2.00 (1.00 to 3.00)" in said


@pytest.mark.parametrize(
    ("theirs", "documents", "summarize"),
    [
        (record(1.5), "the same", "the same"),
        (record(1.5, documents="set 0"), "another", "the same"),
        (record(1.5, beams=4), "other settings", "other settings"),
    ],
)
def test_scores_stand_beside_the_champions(summary, monkeypatch, theirs, documents, summarize):
    monkeypatch.setattr(artifacts, "_scores_of", lambda *_: theirs)
    said = page(summary)
    assert f"| documents | bits/byte ↓ | 2.000 | 1.500 | {documents} |" in said
    assert f"| summarize | ROUGE-L ↑ | 2.00 | 1.50 | {summarize} |" in said


def test_a_failed_run_has_a_page_too(summary):
    summary.outcomes.append(
        Outcome(stage="evaluate", verdict="failed", why=["x"], message="no <b>")
    )
    said = page(summary)
    assert "| evaluate | failed: no \\<b> | x | 0 s |  |" in said
    assert "Scores" not in said


def test_a_page_that_cannot_be_left_is_a_warning(summary, monkeypatch, caplog):
    def away(*_: object, **__: object) -> None:
        raise ConnectionError("no server")

    monkeypatch.setattr("prefect.artifacts.create_markdown_artifact", away)
    artifacts.leave(summary)
    artifacts.leave_note("small", headline="nothing new", rest="")
    Path("data/evaluate/scores.json").unlink()
    artifacts.leave(summary)
    assert caplog.text.count("no page of this run in Prefect") == 3


def test_gits_log_names_the_version_and_its_scores(summary):
    assert keeping._message(summary).splitlines() == [
        "Version 2 of small, challenger",
        "",
        "documents: bits/byte 2.000",
        "summarize: ROUGE-L 2.00",
        "",
        "MLflow run r",
    ]


def test_what_is_not_kept_is_told_and_the_run_stands(summary, monkeypatch):
    monkeypatch.chdir("/")  # no repository
    monkeypatch.setattr(keeping, "_message", lambda _: "x")
    keeping.keep(summary, is_committed=True, is_pushed=False, budget=None)
    assert summary.not_kept == [
        "not committed: this folder is in no git repository; `git init` makes one"
    ]
    assert summary.failed is None

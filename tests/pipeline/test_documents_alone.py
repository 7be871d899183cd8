"""A corpus without pairs: a model that goes on with texts, from its sources to its report."""

import filecmp
import json

import pytest
from conftest import SMALL_PARAMS, run_in, write_params


@pytest.mark.slow
def test_documents_alone_make_a_model_that_drafts(make_project):
    project = make_project("documents-alone")
    sources = SMALL_PARAMS["ingest"]["sources"][:1]
    write_params(
        project, {**SMALL_PARAMS, "ingest": {**SMALL_PARAMS["ingest"], "sources": sources}}
    )
    done = run_in(project, "dvc", "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "there is no pair to finetune on" in done.stdout
    weights = [
        project / f"data/{stage}/model/model.safetensors" for stage in ("pretrain", "finetune")
    ]
    assert filecmp.cmp(*weights, shallow=False)
    metrics = json.loads((project / "data/evaluate/metrics.json").read_text())
    assert set(metrics) == {"documents", "write"}
    # One model under two names would look like two that are level.
    assert set(metrics["documents"]) == {"unigram", "n-gram", "finetuned"}
    assert set(metrics["write"]) == {"n-gram", "finetuned"}

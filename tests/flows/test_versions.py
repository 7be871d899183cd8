"""What is stored with a version and how it answers: files, parity, card, requests."""

import json

import pytest
from conftest import SMALL_PARAMS, small_texts, small_tokenizer
from huggingface_hub import ModelCard
from sample_record import empty_record, empty_surroundings, full_record, full_surroundings

from flows import parity
from flows.parity import PARITY, stage_parity
from flows.registering import signature_of
from flows.version_files import listed
from wordmill.errors import DataError
from wordmill.models.building import new_model
from wordmill.models.folder import save_model
from wordmill.models.vocabulary import vocabulary_of
from wordmill.params.model import ModelParams
from wordmill.report.model_card import in_short, model_card

# MLflow warns of its own classes when it saves a model.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

SETTINGS = {
    "decoding": SMALL_PARAMS["evaluate"]["decoding"],
    "max_source_tokens": 32,
    "batch_size": 4,
}
ROW = {"task": "summarize", "source": "The miller grinds the corn at dawn."}


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    """A version's folder, but for a copy of the code."""
    import mlflow

    folder = tmp_path_factory.mktemp("version")
    tokenizer = small_tokenizer(small_texts(50, seed=1))
    params = ModelParams.model_validate(SMALL_PARAMS["model"])
    save_model(folder / "model", new_model(params, vocabulary_of(tokenizer), seed=1), tokenizer)
    mlflow.pyfunc.save_model(
        folder / "version",
        python_model="flows/registered_model.py",
        artifacts={"model": str(folder / "model")},
        signature=signature_of(SETTINGS),
        model_config=SETTINGS,
        pip_requirements=[],
    )
    return folder / "version"


@pytest.fixture(scope="module")
def served(version):
    import mlflow

    return mlflow.pyfunc.load_model(str(version))


def test_a_request_is_answered(served):
    import pandas as pd

    (text,) = served.predict(pd.DataFrame([ROW]))
    assert isinstance(text, str)
    assert served.predict(pd.DataFrame([ROW]), params={"max_new_tokens": 8}) == [text]


@pytest.mark.parametrize(
    ("row", "params", "told"),
    [
        ({}, {"max_tokens": 3}, "unknown params: max_tokens; allowed: max_new_tokens, "),
        ({"top_k": 3}, {}, "unknown columns: top_k; allowed: task, source, ask"),
        ({}, {"max_new_tokens": 0}, "max_new_tokens: .* greater than or equal to 1; got 0"),
        ({}, {"max_new_tokens": "many"}, "max_new_tokens.*long.*many"),
        ({}, {"temperature": 1.0, "num_beams": 2}, "^beams are not drawn"),
        ({"task": "sumarize"}, {}, "task: got 'sumarize'; allowed: write, summarize"),
    ],
)
def test_a_request_that_is_wrong_is_told(served, row, params, told):
    import pandas as pd
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException, match=told) as raised:
        served.predict(pd.DataFrame([ROW | row]), params=params)
    assert raised.value.get_http_status_code() == 400


def test_other_models_of_the_process_are_left_alone(served):
    import mlflow
    from mlflow.types import DataType, ParamSchema, ParamSpec

    schema = ParamSchema([ParamSpec("alpha", DataType.double, 1.0)])
    _, params = mlflow.pyfunc._validate_prediction_input(None, {"beta": 2.0}, None, schema)
    assert params == {"alpha": 1.0}


def test_the_list_of_files_leaves_out_what_loading_leaves(version, served):
    names = set(listed(version))
    assert {"MLmodel", "registered_model.py", "artifacts/model/model.safetensors"} <= names
    (version / "registered_model_meta").write_text("x")
    (version / "artifacts/__pycache__").mkdir()
    (version / "artifacts/__pycache__/x.pyc").write_text("x")
    assert set(listed(version)) == names


def test_a_version_that_answers_otherwise_is_no_champion(tmp_path, monkeypatch):
    class Registered:
        name = "small"

    from contextlib import nullcontext

    (tmp_path / PARITY).write_text(json.dumps({"rows": [ROW, ROW], "answers": ["a", "b"]}))
    monkeypatch.setattr(parity, "fetched", lambda *_: nullcontext(tmp_path))
    monkeypatch.setattr(parity, "check_files", lambda *_: None)
    monkeypatch.setattr(parity, "answers_of", lambda *_: ["a", "b"])
    parity.check_version(Registered(), "2")
    monkeypatch.setattr(parity, "answers_of", lambda *_: ["a", "c"])
    with pytest.raises(DataError, match=r"version 2 of small .* 1 of 2 answers differ .* row 1"):
        parity.check_version(Registered(), "2")


def predictions(tmp_path, monkeypatch, *, answers):
    rows = [
        {"system": system, "task": task, "source": f"{task} {i}", "ask": "", "prediction": f"{i}"}
        for task in ("summarize", "write")
        for system in ("lead", "finetuned")
        for i in range(6)
    ]
    file = tmp_path / "predictions.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    monkeypatch.setattr(parity, "_PREDICTIONS", file)
    monkeypatch.setattr(parity, "answers_of", answers)


def test_parity_asks_for_every_task_and_takes_the_answers_of_the_stage_s_model(
    tmp_path, monkeypatch
):
    predictions(
        tmp_path, monkeypatch, answers=lambda _, rows, **__: [r["source"][-1] for r in rows]
    )
    found = stage_parity(SETTINGS)
    assert [row["source"] for row in found["rows"]][:3] == ["summarize 0", "write 0", "summarize 1"]
    assert len(found["rows"]) == 8
    assert found["answers"] == ["0", "0", "1", "1", "2", "2", "3", "3"]


def test_a_model_that_is_not_the_scored_one_is_not_registered(tmp_path, monkeypatch):
    predictions(tmp_path, monkeypatch, answers=lambda _, rows, **__: ["?"] * len(rows))
    with pytest.raises(DataError, match=r"8 of 8 answers are not those of .*; was another model"):
        stage_parity(SETTINGS)


def full_card(**made):
    around = {**full_surroundings(), "params": SMALL_PARAMS}
    return model_card(full_record(), around, name="small", made=made)


def test_a_card_has_the_hub_s_metadata_and_every_part():
    text = full_card(**{"git.commit": "abc", "dvc.ingest": "d1.dir"})
    data = ModelCard(text).data
    assert data.language == ["en", "zh"]
    assert data.pipeline_tag == "summarization"
    scored = {one.dataset_name: (one.metric_name, one.metric_value) for one in data.eval_results}
    assert scored["held-out summarize"] == ("ROUGE-L", 11.66)
    for part in ("### Evaluation", "### Probes", "## Data", "## Recipe", "## Limits"):
        assert f"\n{part}\n" in text
    assert "11.66 (" in text
    assert "memorization, finetuned" in text
    assert "bias, finetuned, gender" in text
    assert "d1.dir" in text
    assert "AutoModelForCausalLM.from_pretrained(folder)" in text
    assert "encoder_decoder" not in text  # of sizes that took no part


def test_a_card_in_short_ends_with_how_the_model_compares():
    lines = in_short(full_card()).splitlines()
    assert lines[0] == "# small"
    assert lines[-1].startswith("- **answer: The finetuned model is best.**")


def test_a_card_of_next_to_nothing_says_what_was_not_measured():
    around = {**empty_surroundings(), "params": SMALL_PARAMS}
    text = model_card(empty_record(), around, name="small", made={})
    assert "Bias was not measured." in text
    assert "It was scored on no task" in text
    assert ModelCard(text).data.eval_results is None

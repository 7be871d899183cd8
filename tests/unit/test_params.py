import copy
from pathlib import Path

import pytest
from conftest import ROOT, SMALL_PARAMS

from wordmill.errors import ParamsError
from wordmill.params.everything import Params
from wordmill.params.section import parse_params, read_params


def problems(params: dict) -> list[str]:
    with pytest.raises(ParamsError) as caught:
        parse_params(Params, params, file=Path("params.yaml"))
    return str(caught.value).splitlines()


@pytest.fixture
def params() -> dict:
    return copy.deepcopy(SMALL_PARAMS)


def test_the_default_params_are_valid():
    parse_params(Params, read_params(ROOT / "params.yaml"), file=Path("params.yaml"))


def test_every_problem_is_reported_at_once_one_line_each(params):
    params["finetune"]["lrr"] = 1.0e-3
    del params["clean"]["repair"]["unicode_form"]
    params["model"]["decoder"]["num_layers"] = "3"
    params["zzz"] = {}
    assert problems(params) == [
        "params.yaml: clean.repair.unicode_form: missing; every key must be given",
        "params.yaml: model.decoder.num_layers: must be a valid integer; got '3' (str)",
        "params.yaml: finetune.lrr: unknown key; did you mean 'lr'?",
        "params.yaml: zzz: unknown key; allowed: baselines, clean, compute, evaluate, finetune,"
        " ingest, model, pretrain, registry, seed, tokenize",
    ]


def test_a_misspelt_key_inside_a_source_is_named(params):
    params["ingest"]["sources"][0]["columns"]["txt"] = "text"
    (line,) = problems(params)
    assert line.endswith("columns.write.txt: unknown key; did you mean 'text'?")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            {"kind": "jsonl"},
            "got 'jsonl'; allowed: 'python-docs', 'files', 'parallel', 'sql', 'hugg",
        ),
        ({}, "'kind' is missing"),
        ({"kind": "files", "path": "../x"}, "ingest.root"),
        ({"kind": "files", "path": "/x"}, "ingest.root"),
        ({"kind": "files", "path": "x", "columns": {"task": "write", "text": []}}, "a column such"),
        ({"kind": "files", "path": "x", "columns": {"text": "body"}}, "'task' is missing"),
        ({"kind": "files", "path": "x", "language": "german"}, "got 'german'; must be an ISO"),
        ({"kind": "files", "path": "x", "encoding": "utf-99"}, "unknown encoding 'utf-99'"),
        ({"kind": "files", "path": "x", "format": "jsom"}, "format: must be 'text', 'markdown'"),
        ({"kind": "files", "path": "x", "split": "dev"}, "split: must be 'train'"),
        ({"kind": "sql", "url": "postgresql://a:secret@h/d", "query": "q"}, "PGPASSWORD"),
    ],
)
def test_a_wrong_source_says_what_is_allowed(params, source, expected):
    params["ingest"]["sources"] = [source]
    (line,) = problems(params)
    assert expected in line
    assert "secret" not in line


@pytest.mark.parametrize("value", [True, "1e-3", 0, -1.0, float("nan"), float("inf"), None])
def test_a_learning_rate_is_a_positive_finite_number(params, value):
    params["pretrain"]["lr"] = value
    assert problems(params)[0].startswith("params.yaml: pretrain.lr: must be")


def test_a_pair_must_fit_the_context(params):
    params["tokenize"]["max_source_tokens"] = 60
    assert "model.context_tokens is 64" in problems(params)[0]


def test_what_a_model_may_know_by_heart_must_fit_the_context(params):
    probe = params["evaluate"]["probes"]["memorization"]
    probe |= {"prefix_tokens": 31, "continuation_tokens": 32}
    parse_params(Params, params, file=Path("params.yaml"))
    probe["prefix_tokens"] = 32
    assert "evaluate.probes.memorization takes 65 tokens" in problems(params)[0]
    probe["num_documents"] = 0
    parse_params(Params, params, file=Path("params.yaml"))


@pytest.mark.parametrize(
    ("section", "change", "expected"),
    [
        ("model", {"kind": "pretrained"}, "needs tokenize.kind 'checkpoint'"),
        ("model", {"kind": "rnn"}, "model.kind: must be"),
        (
            "model",
            {
                "encoder_decoder": {
                    **SMALL_PARAMS["model"]["encoder_decoder"],
                    "num_decoder_layers": 2,
                }
            },
            "model.encoder_decoder: num_decoder_layers 2 may not be above num_encoder_layers 1",
        ),
        ("pretrain", {"length": 5}, "pretrain.length: got 5; allowed: a number and a unit"),
        ("pretrain", {"length": "5"}, "pretrain.length: got '5'; allowed: a number and a unit"),
        ("pretrain", {"length": "1.5 steps"}, "steps are whole"),
        ("pretrain", {"length": "0 epochs"}, "above zero"),
        ("pretrain", {"precision": "32-true"}, "pretrain.precision: must be"),
        ("finetune", {"dropout": 1.0}, "finetune.dropout: must be"),
        ("compute", {"devices": 0}, "compute.devices: must be"),
    ],
)
def test_a_wrong_recipe_says_what_is_allowed(params, section, change, expected):
    params[section].update(change)
    assert expected in problems(params)[0]


@pytest.mark.parametrize(
    ("kind", "expected"), [("encoder-decoder", "needs 'bucket'"), ("lstm", "needs 'bucket'")]
)
def test_pairs_are_packed_for_decoders_alone(params, kind, expected):
    params["model"]["kind"] = kind
    params["finetune"]["pair_packing"] = "pack"
    assert expected in problems(params)[0]


def test_adapters_need_their_library_before_anything_runs(params, monkeypatch):
    params["finetune"]["lora"]["is_on"] = True
    parse_params(Params, params, file=Path("params.yaml"))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert "pip install -e '.[lora]'" in problems(params)[0]


@pytest.mark.parametrize(
    ("text", "number", "unit"),
    [
        ("750 steps", 750, "steps"),
        ("20M tokens", 20e6, "tokens"),
        ("1.5 epochs", 1.5, "epochs"),
        ("1 step", 1, "steps"),
    ],
)
def test_a_length_is_a_number_with_a_unit(params, text, number, unit):
    params["finetune"]["length"] = text
    found = parse_params(Params, params, file=Path("params.yaml")).finetune.length
    assert found == (number, unit)
    params["finetune"]["length"] = str(found)  # what is logged can be given again
    assert parse_params(Params, params, file=Path("params.yaml")).finetune.length == found


def test_yaml_is_read_as_dvc_reads_it(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("a: 3e-4\nb: yes\n")
    assert read_params(path) == {"a": 3e-4, "b": "yes"}


@pytest.mark.parametrize(
    ("content", "expected"), [("a: [1\n", "not valid YAML"), ("- a\n", "must hold sections")]
)
def test_a_broken_file_is_one_line(tmp_path, content, expected):
    path = tmp_path / "params.yaml"
    path.write_text(content)
    with pytest.raises(ParamsError, match=expected) as caught:
        read_params(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ParamsError, match="no such file"):
        read_params(tmp_path / "params.yaml")

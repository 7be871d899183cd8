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
        "params.yaml: zzz: unknown key; allowed: clean, compute, evaluate, finetune, ingest, model,"
        " pretrain, registry, seed, tokenize",
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

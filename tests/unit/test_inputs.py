"""What names a run's code."""

from pathlib import Path

import pytest

from stages.inputs import code_key, dag_code

DAG = """
stages:
  train: {cmd: x, deps: [stages/train.py, wordmill/models, data/texts], outs: [data/train]}
  evaluate: {cmd: x, deps: [stages/evaluate.py, data/train], outs: [data/evaluate]}
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in ("stages/train.py", "stages/evaluate.py", "wordmill/models/one.py", "data/texts"):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(path)
    Path("dvc.yaml").write_text(DAG)


@pytest.mark.parametrize(
    ("path", "is_code_of_dag", "is_code_of_evaluate"),
    [
        ("stages/train.py", True, False),
        ("wordmill/models/one.py", True, False),
        ("stages/evaluate.py", True, True),
        ("data/texts", False, False),
        ("wordmill/models/__pycache__/one.pyc", False, False),
    ],
)
def test_an_edit_of_any_stages_code_is_seen(project, path, is_code_of_dag, is_code_of_evaluate):
    before = dag_code(), code_key("evaluate")
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_text("other")
    assert (dag_code() != before[0]) == is_code_of_dag
    assert (code_key("evaluate") != before[1]) == is_code_of_evaluate

"""`wordmill report`: the page of the last evaluation again, with the votes of people."""

import json
import webbrowser
from pathlib import Path

import pytest
from sample_record import full_record, full_surroundings

from flows.report import OUT, report
from wordmill.errors import DataError, ParamsError
from wordmill.judging.answers import read_answers
from wordmill.judging.ballot import ballot
from wordmill.judging.votes import VoteFile


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data/evaluate"
    folder.mkdir(parents=True)
    (folder / "scores.json").write_text(json.dumps(full_record()))
    (folder / "surroundings.json").write_text(json.dumps({**full_surroundings(), "votes": []}))
    row = {"task": "summarize", "source": "s", "ask": "", "target": "t"}
    rows = [
        {**row, "system": system, "id": str(i), "prediction": f"{system} {i}"}
        for system in ("lead", "finetuned")
        for i in range(4)
    ]
    (folder / "predictions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def test_it_is_written_without_votes(project):
    assert report() == str(OUT)
    page = OUT.read_text(encoding="utf-8")
    assert "The n-gram model is best" in page
    assert "What people preferred" not in page


def test_votes_come_in_and_a_browser_opens_it(project, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    both = [
        read_answers(name, default=Path("data/evaluate/predictions.jsonl"))
        for name in ("lead", "finetuned")
    ]
    file = VoteFile(Path("judgements"), ballot(*both, samples=4, seed=1), judge="")
    for i in range(4):
        file.add(str(i), "tie")
    out = project / "elsewhere/page.html"
    assert report(out=out, is_opened=True) == f"{out}, with 1 comparison by people"
    page = out.read_text(encoding="utf-8")
    assert "What people preferred" in page
    assert "50%" in page
    assert opened == [out.as_uri()]


def test_outputs_of_dvc_are_left_alone(project):
    with pytest.raises(ParamsError, match="belongs to DVC"):
        report(out=Path("data/evaluate/report.html"))
    assert not Path("data/evaluate/report.html").exists()


def test_what_is_missing_or_broken_is_one_line(project):
    Path("data/evaluate/surroundings.json").write_text("{")
    with pytest.raises(DataError, match=r"surroundings\.json: not JSON"):
        report()
    Path("data/evaluate/scores.json").unlink()
    with pytest.raises(DataError, match=r"scores\.json: no such file; `wordmill retrain`"):
        report()

"""Results side by side: what is compared, what is refused, and where results are found."""

import copy
import hashlib
import json
import math
import subprocess
from dataclasses import replace

import pytest
from sample_record import empty_record, score

from flows.experiment_record import Remembered, remember
from flows.experiment_space import EXPERIMENTS
from wordmill.comparing.page import page
from wordmill.comparing.result import read_result, statistics_of
from wordmill.comparing.side_by_side import side_by_side
from wordmill.comparing.words import terminal
from wordmill.errors import DataError, ParamsError
from wordmill.metrics.pairs import pair_statistics
from wordmill.metrics.score import scores
from wordmill.metrics.significance import compare

WANTED = [f"the {who} carries heavy sacks {when}" for who in "abcdef" for when in ("up", "down")]
GOOD = [text.replace("heavy", "big") for text in WANTED]
BAD = ["silver coins", *GOOD[1:5], *["the miller"] * 7]
LANGUAGES = {"signature": "bits_per_byte|by:utf-8-bytes|ends:counted"}


def documents(bits: float, *, tokenizer: str):
    by = f"perplexity|by:tokens|tokenizer:{tokenizer}|ends:counted"
    return {
        "pretrained": {
            "perplexity": score(2 ** (bits * 3), count=20, spread=0.02, signature=by),
            "bits_per_byte": score(bits, count=20, spread=0.02, **LANGUAGES),
        }
    }


def write_result(
    folder,
    said,
    *,
    bits=1.2,
    tokenizer="aa",
    held_out="set-1",
    documents_set="docs-1",
    params=None,
    wanted=WANTED,
    code="c0de",
):
    """A folder as the evaluate stage leaves it, scored by the very metrics."""
    measured = pair_statistics("summarize", said, wanted)
    found = {n: s.as_dict() for n, s in scores(measured, samples=50, seed=1).items()}
    record = empty_record(
        identity={"documents": documents_set, "summarize": held_out, "tokenizer": tokenizer},
        primary={"documents": "bits_per_byte", "summarize": "rougeL"},
        num_documents=20,
        num_pairs={"summarize": len(said)},
        documents=documents(bits, tokenizer=tokenizer),
        pairs={"summarize": {"finetuned": found}},
    )
    folder.mkdir(parents=True)
    (folder / "scores.json").write_text(json.dumps(record))
    rows = [
        {
            "system": "finetuned",
            "id": f"{i}",
            "task": "summarize",
            "source": f"source {i}",
            "ask": "",
            "target": target,
            "prediction": text,
        }
        for i, (text, target) in enumerate(zip(said, wanted, strict=True))
    ]
    (folder / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    around = {
        "params": params or {"seed": 7, "pretrain": {"lr": 0.01}},
        "identity": {"git commit": "abc", "code": code},
        "curves": [
            {"stage": "pretrain", "name": "loss", "steps": [1, 2, 3], "values": [3.0, 2.0, bits]}
        ],
    }
    (folder / "surroundings.json").write_text(json.dumps(around))
    return folder


def results(tmp_path, **folders):
    return [
        read_result(write_result(tmp_path / name, **settings), name=name)
        for name, settings in folders.items()
    ]


def kind_of(found, name):
    return next(kind for kind in found.kinds if kind.kind == name)


def test_the_same_result_differs_by_exactly_nothing(tmp_path):
    found = side_by_side(results(tmp_path, a={"said": BAD}, b={"said": BAD}))
    assert (found.params, found.data, found.origin, found.refusals) == ([], [], [], [])
    rows = [row for kind in found.kinds for row in kind.against]
    assert len(rows) > 5
    assert {row.value for row in rows} == {0.0}
    assert {row.says for row in rows} == {"the same"}
    paired = kind_of(found, "summarize").against
    assert {(row.low, row.high, row.p_randomization, row.p_bootstrap) for row in paired} == {
        (0.0, 0.0, 1.0, 1.0)
    }


def test_a_paired_test_is_that_of_the_metrics(tmp_path):
    found = side_by_side(results(tmp_path, a={"said": BAD}, b={"said": GOOD}))
    (row,) = (r for r in kind_of(found, "summarize").against if r.metric == "rougeL")
    # Ids sort as texts: 0, 1, 10, 11, 2, ...
    order = sorted(range(12), key=str)
    good, bad, wanted = ([texts[i] for i in order] for texts in (GOOD, BAD, WANTED))
    by_hand = compare(
        pair_statistics("summarize", good, wanted),
        pair_statistics("summarize", bad, wanted),
        samples=1000,
        seed=1,
    )["rougeL"]
    assert (row.value, row.p_randomization) == (by_hand.value, by_hand.p_randomization)
    assert row.says == "better"
    assert row.value > 0
    assert 0 < row.low < row.value < row.high


def test_the_order_of_the_answers_says_nothing(tmp_path):
    a, b = results(tmp_path, a={"said": BAD}, b={"said": BAD})
    file = tmp_path / "b/predictions.jsonl"
    file.write_text("\n".join(reversed(file.read_text().splitlines())) + "\n")
    found = side_by_side([a, read_result(tmp_path / "b", name="b")])
    assert {row.value for row in kind_of(found, "summarize").against} == {0.0}
    assert b.answers == read_result(tmp_path / "b", name="b").answers


def test_another_held_out_set_is_refused_with_the_reason(tmp_path):
    found = side_by_side(results(tmp_path, a={"said": GOOD}, b={"said": GOOD, "held_out": "set-2"}))
    assert [kind.kind for kind in found.kinds] == ["documents"]  # what can be compared is
    (refusal,) = found.refusals
    assert (refusal.what, refusal.name) == ("summarize", "b")
    assert refusal.reason == "scored on other held-out examples (set-2) than a (set-1)"
    assert "Not compared\n  summarize: b is scored on other held-out" in terminal(found)


def test_the_same_ids_with_other_texts_are_refused(tmp_path):
    other = [text.upper() for text in WANTED]
    found = side_by_side(results(tmp_path, a={"said": GOOD}, b={"said": GOOD, "wanted": other}))
    (refusal,) = found.refusals
    assert "what is asked of them differs" in refusal.reason


def test_perplexity_of_another_tokenizer_is_refused_and_bits_per_byte_is_not(tmp_path):
    found = side_by_side(
        results(tmp_path, a={"said": GOOD}, b={"said": GOOD, "tokenizer": "bb", "bits": 2.0})
    )
    (refusal,) = found.refusals
    assert (refusal.what, refusal.name) == ("documents perplexity", "b")
    assert "tokenizer:bb where a has tokenizer:aa" in refusal.reason
    (row,) = kind_of(found, "documents").against
    assert (row.metric, row.says, row.value) == ("bits_per_byte", "worse", pytest.approx(0.8))
    assert [len(curves) for _, curves in found.curves] == [1]  # losses by token of one tokenizer


def test_documents_are_told_apart_by_intervals_and_it_is_said(tmp_path):
    found = side_by_side(
        results(tmp_path, a={"said": GOOD, "bits": 1.2}, b={"said": GOOD, "bits": 1.21})
    )
    kind = kind_of(found, "documents")
    assert {row.says for row in kind.against} == {"no telling"}
    assert all(math.isnan(row.p_randomization) for row in kind.against)
    assert "no paired test" in kind.note


def test_answers_that_do_not_give_the_recorded_score_are_not_tested(tmp_path):
    write_result(tmp_path / "a", GOOD)
    file = tmp_path / "a/predictions.jsonl"
    file.write_text(file.read_text().replace("big", "huge!"))
    changed = read_result(tmp_path / "a", name="a")
    keys = sorted(changed.answers["summarize"])
    assert "chrf" not in statistics_of(changed, "summarize", keys)
    (whole,) = results(tmp_path, b={"said": GOOD})
    assert "chrf" in statistics_of(whole, "summarize", sorted(whole.answers["summarize"]))


def test_seeds_are_error_bars(tmp_path):
    def params(seed, lr):
        return {"seed": seed, "pretrain": {"lr": lr}}

    found = side_by_side(
        results(
            tmp_path,
            a={"said": GOOD, "bits": 1.0, "params": params(7, 0.01)},
            b={"said": GOOD, "bits": 1.2, "params": params(8, 0.01)},
            c={"said": GOOD, "bits": 1.4, "params": params(9, 0.01)},
            d={"said": GOOD, "bits": 3.0, "params": params(7, 0.5)},
            c_again={"said": GOOD, "bits": 1.4, "params": params(9, 0.01)},  # no fourth seed
        )
    )
    rows = [r for r in kind_of(found, "documents").spreads if r.metric == "bits_per_byte"]
    many, one = rows
    assert (many.label, len(many.values)) == ("pretrain.lr=0.01", 3)
    assert many.mean == pytest.approx(1.2)
    assert many.deviation == pytest.approx(0.2)
    assert (one.label, one.values) == ("pretrain.lr=0.5", [3.0])
    assert math.isnan(one.deviation)
    assert [(row.name, row.values) for row in found.params] == [
        ("seed", ["7", "8", "9", "7", "9"]),
        ("pretrain.lr", ["0.01", "0.01", "0.01", "0.5", "0.01"]),
    ]
    assert "1.200 ± 0.200 (3 runs)" in terminal(found)


def test_runs_of_other_code_or_other_texts_are_no_seeds_of_each_other(tmp_path):
    def params(seed):
        return {"seed": seed, "pretrain": {"lr": 0.01}}

    runs = results(
        tmp_path,
        a={"said": GOOD, "params": params(7)},
        b={"said": GOOD, "bits": 1.4, "params": params(8)},
        c={"said": GOOD, "bits": 3.0, "params": params(9), "code": "other"},
        d={"said": GOOD, "bits": 4.0, "params": params(10)},
    )
    runs = [replace(one, data={"ingest": "new" if one.name == "d" else "old"}) for one in runs]
    kind = kind_of(side_by_side(runs), "documents")
    rows = [row for row in kind.spreads if row.metric == "bits_per_byte"]
    assert [(row.label, row.values) for row in rows] == [
        ("code=c0de, ingest=old", [1.2, 1.4]),
        ("code=other, ingest=old", [3.0]),
        ("code=c0de, ingest=new", [4.0]),
    ]


def test_the_page_is_whole_and_escapes_names(tmp_path):
    one, two = results(tmp_path, a={"said": GOOD}, b={"said": BAD, "bits": 1.4})
    evil = copy.copy(two)
    object.__setattr__(evil, "name", "<script>alert(1)</script>")
    html = page(side_by_side([one, evil]), made_at="now")
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert" in html
    for outside in ("http://", "https://", "src=", "@import", "url("):
        assert outside not in html.replace('<link rel="icon" href="data:,">', "")
    assert "nan" not in html.lower().replace("finance", "")
    assert 'class="line c1"' in html


def test_a_folder_without_a_result_is_one_clear_line(tmp_path):
    with pytest.raises(DataError) as caught:
        read_result(tmp_path, name="x")
    assert len(str(caught.value).splitlines()) == 1
    write_result(tmp_path / "a", GOOD)
    (tmp_path / "a/predictions.jsonl").write_text('{"system": "finetuned"}\n')
    with pytest.raises(DataError, match=r"predictions.jsonl:1: not an answer"):
        read_result(tmp_path / "a", name="a")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A repository whose HEAD has an evaluation in DVC's cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/none.db")
    folder = write_result(tmp_path / "data/evaluate", GOOD)
    cache = tmp_path / ".dvc/cache/files/md5"
    listing = []
    for file in sorted(folder.iterdir()):
        listing.append({"md5": _cached(cache, file.read_bytes()), "relpath": file.name})
    made = _cached(cache, json.dumps(listing).encode(), suffix=".dir")
    lock = {"schema": "2.0", "stages": {"evaluate": {"cmd": "x", "outs": [{"md5": made}]}}}
    (tmp_path / "dvc.lock").write_text(json.dumps(lock))
    (tmp_path / "params.yaml").write_text("registry:\n  name: small\n")
    (tmp_path / ".dvc/config").write_text("[core]\n    analytics = false\n")
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    for command in (["init", "-q", "-b", "main"], ["add", "dvc.lock"], ["commit", "-qm", "one"]):
        subprocess.run(["git", *identity, *command], check=True)
    return tmp_path


def _cached(cache, data: bytes, *, suffix="") -> str:
    name = hashlib.md5(data).hexdigest() + suffix
    (cache / name[:2]).mkdir(parents=True, exist_ok=True)
    (cache / name[:2] / name[2:]).write_bytes(data)
    return name


def test_a_revision_is_read_from_the_cache(project):
    from flows.compare import compare as command

    write_result(project / "other", BAD)
    told = command(["main", "workspace", "./other"], out=project / "page.html")
    assert "summarize against main" in told
    assert (project / "page.html").read_text().startswith("<!doctype html>")
    lines = [line for line in told.splitlines() if "ROUGE-L " in line and "0.00" in line]
    assert lines[0].split()[0] == "workspace"
    assert "the same" in lines[0]


def test_a_name_that_exists_nowhere_says_what_exists(project):
    from flows.compare import compare as command

    with pytest.raises(ParamsError) as caught:
        command(["nowhere", "workspace"], out=None)
    assert str(caught.value) == (
        "nowhere: no such result; there are branches: main; workspace, any git revision with a"
        " dvc.lock, and ./FOLDER"
    )
    with pytest.raises(ParamsError, match="one result alone"):
        command(["workspace"], out=None)
    with pytest.raises(ParamsError, match="belongs to DVC"):
        command(["main", "workspace"], out=project / "data/evaluate/x.html")


def remembered(name, evaluation):
    done = Remembered(name=name, grid="lr", key=name, changes={}, status="done")
    done.evaluation, done.outputs = evaluation, {"ingest": "1.dir", "pretrain": "2.dir"}
    file = EXPERIMENTS / "lr" / f"{name}.experiment.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    remember(file, done)


def test_a_grid_is_known_by_its_own_memory_also_where_dvc_has_removed_its_experiments(project):
    from flows.compare import compare as command

    made = json.loads((project / "dvc.lock").read_text())["stages"]["evaluate"]["outs"][0]["md5"]
    remembered("lr-1", made)
    remembered("lr-2", made)
    told = command(["lr"], out=None)
    assert "summarize against lr-1" in told
    assert "Data that differs: none" in told


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_folder_without_a_result_is_not_all_experiments(project, name):
    from flows.compare import compare as command

    remembered("lr-1", "x.dir")
    with pytest.raises(DataError, match=r"scores.json: no such file"):
        command([name, "workspace"], out=None)


def test_an_evaluation_that_is_in_no_cache_is_said(project):
    from flows.compare import compare as command

    for file in (project / ".dvc/cache/files/md5").rglob("*.dir"):
        file.unlink()
    with pytest.raises(DataError, match="not in DVC's cache"):
        command(["main", "workspace"], out=None)


@pytest.mark.parametrize("is_listing", [True, False])
def test_an_evaluation_that_was_changed_in_the_cache_is_said(project, is_listing):
    from flows.compare import compare as command

    for file in (project / ".dvc/cache/files/md5").rglob("*"):
        if file.is_file() and (file.suffix == ".dir") is is_listing:
            file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(DataError, match="was changed in DVC's cache"):
        command(["main", "workspace"], out=None)


def test_nothing_in_common_is_an_error(project):
    from flows.compare import compare as command

    folder = write_result(project / "other", GOOD, held_out="set-2")
    record = json.loads((folder / "scores.json").read_text())
    record["identity"]["documents"] = "docs-2"
    (folder / "scores.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match=r"nothing can be compared: documents: \./other: scored on"):
        command(["main", "./other"], out=None)


def folds_of_two_models(tmp_path):
    def params(fold, lr):
        return {"seed": 7, "pretrain": {"lr": lr}, "ingest": {"fold": fold}}

    given = {
        f"{name}{fold}": {
            "said": GOOD,
            "bits": bits + fold / 10,
            "held_out": f"set-{fold}",
            "documents_set": f"docs-{fold}",
            "params": params(f"{fold} of 3", lr),
        }
        for name, lr, bits in (("a", 0.01, 1.0), ("b", 0.5, 2.0))
        for fold in (1, 2, 3)
    }
    return results(tmp_path, **given)


def test_folds_are_averaged_and_not_tested_against_each_other(tmp_path):
    found = side_by_side(folds_of_two_models(tmp_path))
    kind = kind_of(found, "documents")
    rows = [row for row in kind.spreads if row.metric == "bits_per_byte"]
    assert [(row.over, row.label, len(row.values)) for row in rows] == [
        ("folds", "pretrain.lr=0.01", 3),
        ("folds", "pretrain.lr=0.5", 3),
    ]
    assert rows[0].mean == pytest.approx(1.2)
    assert rows[0].deviation == pytest.approx(0.1)
    assert {row.name for row in kind.against} == {"b1"}  # the other model on the same fold
    told = terminal(found)
    assert "documents over folds, mean ± standard deviation" in told
    assert "a2 is scored on another fold (2 of 3) than a1 (1 of 3); folds meet in the mean" in told
    html = page(found, made_at="now")
    assert "<h3>Over folds</h3>" in html
    assert "<h3>Over seeds</h3>" not in html


def test_a_lone_cross_validation_has_its_mean_alone(tmp_path):
    found = side_by_side(folds_of_two_models(tmp_path)[:3])
    kind = kind_of(found, "summarize")
    assert kind.against == []
    assert [(row.label, len(row.values)) for row in kind.spreads if row.metric == "rougeL"] == [
        ("all runs", 3)
    ]
    assert "summarize over folds" in terminal(found)


def test_perplexity_by_token_has_no_mean_over_folds_of_other_tokenizers(tmp_path):
    one, _, three = folds_of_two_models(tmp_path)[:3]
    write_result(
        tmp_path / "other",
        GOOD,
        tokenizer="bb",
        held_out="set-2",
        documents_set="docs-2",
        params={"seed": 7, "pretrain": {"lr": 0.01}, "ingest": {"fold": "2 of 3"}},
    )
    found = side_by_side([one, read_result(tmp_path / "other", name="other"), three])
    metrics = {row.metric for row in kind_of(found, "documents").spreads}
    assert "bits_per_byte" in metrics
    assert "perplexity" not in metrics
    (refusal,) = (r for r in found.refusals if r.what == "documents perplexity over folds")
    assert refusal.name == "other"
    assert "bits/byte compares any tokenizers" in refusal.reason

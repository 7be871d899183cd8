"""Cross-validation: what is read, cleaned and held out, fold by fold."""

import json

import pytest
from conftest import SMALL_PARAMS, params_of
from ingesting import ingest, ingest_params, written

from wordmill.cleaning.cleaning import Cleaning
from wordmill.data.records import Document, RecordWriter, read_records
from wordmill.errors import ParamsError
from wordmill.params.everything import Params
from wordmill.params.section import parse_params
from wordmill.progress import Progress

FOLDS = ["1 of 3", "2 of 3", "3 of 3"]
CONTEXTS = {"path": "c.jsonl", "columns": {"task": "answer", "question": "q", "answer": "a"}}
CONTEXTS["columns"]["context"] = "c"
TEXTS = {"path": "t.jsonl"}


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    root = tmp_path_factory.mktemp("folds") / "raw"
    root.mkdir()
    lines = [
        json.dumps({"c": f"A paragraph about {i}.", "q": f"What of {j}?", "a": f"{i}.{j}"})
        for i in range(60)
        for j in range(3)
    ]
    (root / "c.jsonl").write_text("\n".join(lines))
    words = ["mill", "stone", "water", "wheel", "corn", "flour", "sack", "bread", "river", "dam"]
    texts = [" ".join(words[(i * k) % 10] for k in range(1, 40)) + f" {i}." for i in range(150)]
    # A copy with one word more is another record with a hash, and so a fold, of its own.
    near = [f"{text} Indeed." for text in texts]
    (root / "t.jsonl").write_text("\n".join(json.dumps({"text": t}) for t in texts + near))
    return root


@pytest.fixture(scope="module")
def by_fold(raw):
    found = {}
    for number, fold in enumerate(FOLDS):
        ingest(raw, CONTEXTS, TEXTS, out=f"fold-{number}", fold=fold)
        found[fold] = raw.parent / f"fold-{number}"
    return found


def test_every_record_is_tested_once_and_questions_stay_with_their_paragraph(by_fold):
    tested = {}
    for fold, folder in by_fold.items():
        records = written(folder)
        assert len(records) == 180 + 300
        sides = {}
        for split, record in records:
            if not isinstance(record, Document):
                sides.setdefault(record.source, set()).add(split)
            if split == "test":
                tested.setdefault(record.id, []).append(fold)
        assert all(len(splits) == 1 for splits in sides.values())
    assert len(tested) == 180 + 300
    assert {len(folds) for folds in tested.values()} == {1}


def test_null_is_the_split_that_was(raw, by_fold):
    ingest(raw, CONTEXTS, TEXTS, out="none", test_fraction=1 / 3)
    assert written(raw.parent / "none") == written(by_fold["1 of 3"])
    assert json.dumps(ingest_params(raw, TEXTS).model_dump(mode="json")["fold"]) == "null"
    assert ingest_params(raw, TEXTS, fold="2 of 5").model_dump(mode="json")["fold"] == "2 of 5"


def test_near_duplicates_in_another_fold_do_not_reach_the_training_set(by_fold, tmp_path):
    num_torn = 0
    for number, folder in enumerate(by_fold.values()):
        before = {split: stems(folder, split) for split in ("test", "train")}
        num_torn += len(before["test"] & before["train"])
        assert not stems(clean(folder, tmp_path / str(number)), "train") & before["test"]
    assert num_torn > 50  # else nothing is shown


def stems(folder, split):
    found = read_records(folder, Document, split)
    return {one.text.removesuffix(" Indeed.") for one in found}


def clean(folder, out):
    work = out / "work"
    work.mkdir(parents=True)
    (out / "data").mkdir()
    params = params_of("clean")
    cleaning = Cleaning(
        folder, work, params, seed=1, on_drop=lambda _: None, progress=Progress("test")
    )
    with RecordWriter(out / "data") as writer:
        cleaning.run(writer)
    return out / "data"


@pytest.mark.parametrize("fold", ["0 of 5", "6 of 5", "1 of 1", "2", 2, "one of two", ""])
def test_what_is_no_fold_is_refused(fold):
    params = {**SMALL_PARAMS, "ingest": {**SMALL_PARAMS["ingest"], "fold": fold}}
    with pytest.raises(ParamsError, match=r"ingest.fold: got .*allowed: null, or a fold"):
        parse_params(Params, params, file="params.yaml")


def test_a_source_that_is_a_test_set_is_in_no_cross_validation():
    sources = [{**SMALL_PARAMS["ingest"]["sources"][0], "split": "test"}]
    ingest_section = {**SMALL_PARAMS["ingest"], "sources": sources, "fold": "2 of 5"}
    with pytest.raises(ParamsError, match=r"ingest: fold 2 of 5: sources\[0\] goes to the test"):
        parse_params(Params, {**SMALL_PARAMS, "ingest": ingest_section}, file="params.yaml")

"""The presets of experiments/ on the corpora they are for: rows counted, first ones looked at."""

from collections import Counter

import pytest
from conftest import ROOT
from ingesting import ingest, written

from wordmill.data.records import SPLITS, Document, Pair
from wordmill.params.everything import Params
from wordmill.params.section import parse_params, read_params

CORPORA = ROOT.parent / "shared/data"
PRESETS = sorted((ROOT / "experiments").glob("*.yaml"))


def merged(values, change):
    if not isinstance(change, dict):
        return change
    values = values if isinstance(values, dict) else {}
    return {**values, **{key: merged(values.get(key), change[key]) for key in change}}


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_a_preset_fits_the_params(preset):
    change = read_params(preset)
    params = parse_params(Params, merged(read_params(ROOT / "params.yaml"), change), file=preset)
    assert params.ingest.root == change["ingest"]["root"]


def read(name, tmp_path):
    """The records of a preset, by split."""
    given = read_params(ROOT / "experiments" / f"{name}.yaml")["ingest"]
    root = CORPORA / given.pop("root")
    if not root.is_dir():
        pytest.skip(f"no {root}: this corpus is not part of the project")
    sources = given.pop("sources")
    fractions = {"validation_fraction": 0.05, "test_fraction": 0.1}
    out = tmp_path / "out"
    link = tmp_path / "raw"
    link.symlink_to(root)
    ingest(link, *sources, **{**fractions, **given})
    found = written(out)
    counts = Counter((type(record).__name__, split) for split, record in found)
    return [record for _, record in found], counts


def kinds(records, kind):
    return [record for record in records if isinstance(record, kind)]


def test_tinyshakespeare(tmp_path):
    records, counts = read("tinyshakespeare", tmp_path)
    assert len(records) == 7222
    assert counts["Document", "test"] / 7222 == pytest.approx(0.1, abs=0.02)
    text = "First Citizen:\nBefore we proceed any further, hear me speak.\n"
    assert text in {document.text for document in records}


def test_multi30k(tmp_path):
    records, counts = read("multi30k", tmp_path)
    assert counts == {
        ("Pair", "train"): 29_000,
        ("Pair", "validation"): 1014,
        ("Pair", "test"): 1000,
        ("Document", "train"): 58_000,
        ("Document", "validation"): 2028,
        ("Document", "test"): 2000,
    }
    first = kinds(records, Pair)[0]
    assert first.source == ("Two young, White males are outside near many bushes.")
    assert first.target == ("Zwei junge weiße Männer sind im Freien in der Nähe vieler Büsche.")
    assert (first.task, first.ask, first.language) == ("translate", "German", "de")


def test_dialogsum(tmp_path):
    records, counts = read("dialogsum", tmp_path)
    tasks = Counter(pair.task for pair in kinds(records, Pair))
    assert tasks == {"summarize": 1000, "dialogue": 8543}
    assert len(kinds(records, Document)) == 1000
    assert counts["Document", "test"] in range(500, 503)
    reply = next(pair for pair in records if isinstance(pair, Pair) and pair.task == "dialogue")
    assert reply.ask == "#Person2#"
    assert reply.source.startswith("#Person1#: ")
    assert not reply.target.startswith("#Person")


def test_chinese_poems(tmp_path):
    records, _ = read("chinese-poems", tmp_path)
    assert len(records) == 8007
    texts = {document.text.partition("\n")[0]: document.text for document in records}
    assert texts["帝京篇十首 一"].splitlines()[1] == "秦川雄帝宅，函谷壯皇居。"
    assert {document.language for document in records} == {"zh"}


def test_cmrc2018(tmp_path):
    records, _ = read("cmrc2018", tmp_path)
    questions, contexts = kinds(records, Pair), kinds(records, Document)
    assert (len(questions), len(contexts)) == (1002, 256)
    assert len([pair for pair in questions if pair.target in pair.source]) > 900
    for split in SPLITS:  # a question falls on the side of its paragraph
        found = [record for side, record in written(tmp_path / "out") if side == split]
        asked_about = {pair.source for pair in kinds(found, Pair)}
        assert asked_about == {document.text for document in kinds(found, Document)}

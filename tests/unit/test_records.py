import random

import pytest

from wordmill.data.records import (
    SPLITS,
    Document,
    Pair,
    count_records,
    document,
    pair,
    read_records,
    split_of,
    write_records,
)


def test_equal_texts_have_equal_ids_and_others_do_not():
    assert document("a", origin="x").id == document("a", origin="y", line=3).id
    assert document("a", origin="x").id != document("b", origin="x").id
    assert (
        pair("a", "bc", task="summarize", origin="x").id
        != pair("ab", "c", task="summarize", origin="x").id
    )


def test_a_split_holds_its_share():
    splits = [
        split_of(f"text {i}", validation_fraction=0.1, test_fraction=0.2) for i in range(5000)
    ]
    assert splits.count("test") / 5000 == pytest.approx(0.2, abs=0.02)
    assert splits.count("validation") / 5000 == pytest.approx(0.1, abs=0.02)


def test_no_text_leaves_the_test_set_when_its_share_grows():
    texts = [f"text {i}" for i in range(1000)]
    small = {t for t in texts if split_of(t, validation_fraction=0.1, test_fraction=0.1) == "test"}
    large = {t for t in texts if split_of(t, validation_fraction=0.1, test_fraction=0.3) == "test"}
    assert small < large


@pytest.mark.parametrize("of", [2, 3, 5, 7, 10])
def test_every_text_is_in_the_test_set_of_exactly_one_fold(of):
    texts = [f"text {i}" for i in range(3000)]
    splits = [
        [split_of(t, validation_fraction=0.1, test_fraction=0.3, fold=(i, of)) for t in texts]
        for i in range(1, of + 1)
    ]
    assert {found.count("test") for found in zip(*splits, strict=True)} == {1}
    for found in splits:
        assert found.count("test") / 3000 == pytest.approx(1 / of, abs=0.03)
        assert found.count("validation") / 3000 == pytest.approx(0.1, abs=0.02)
        assert "train" in found


def test_no_text_is_lost_at_the_border_of_two_folds(monkeypatch):
    # A third of the places, rounded down and up: where a float would put them is a matter of luck.
    for place in (0, 16**13 // 3, 16**13 // 3 + 1, 2 * 16**13 // 3, 16**13 - 1):
        monkeypatch.setattr("wordmill.data.records.content_id", lambda *_, at=place: f"{at:013x}00")
        found = [
            split_of("", validation_fraction=0.1, test_fraction=0.1, fold=(i, 3)) for i in (1, 2, 3)
        ]
        assert found.count("test") == 1


def test_the_first_fold_is_the_usual_split():
    for text in map(str, range(500)):
        usual = split_of(text, validation_fraction=0.1, test_fraction=0.2)
        assert split_of(text, validation_fraction=0.1, test_fraction=0.9, fold=(1, 5)) == usual


def test_records_come_back_as_written(tmp_path):
    draw = random.Random(0)
    texts = ["", "中文\n第二行", "a\x00b", "é" * 5000, *(str(draw.random()) for _ in range(9000))]
    documents = [document(text, origin="s", n=i) for i, text in enumerate(texts)]
    one_pair = pair(
        "源", "目标", task="translate", origin="s", ask="Chinese", language="zh", weight=2.0
    )
    write_records(tmp_path, [*(("train", d) for d in documents), ("test", one_pair)])
    assert list(read_records(tmp_path, Document, "train")) == documents
    assert list(read_records(tmp_path, Pair, "test")) == [one_pair]
    assert count_records(tmp_path, Document, "train") == len(documents)


def test_every_split_has_its_file_even_if_empty(tmp_path):
    write_records(tmp_path, [])
    for kind in (Document, Pair):
        for split in SPLITS:
            assert list(read_records(tmp_path, kind, split)) == []

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

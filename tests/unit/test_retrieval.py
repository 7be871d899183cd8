"""The retrieval baseline: BM25 by hand, its ties, and what must agree."""

import math

import numpy as np
import pytest
from conftest import small_texts

from wordmill.data.records import pair
from wordmill.models import retrieval
from wordmill.models.retrieval import Retrieval
from wordmill.tokens.prompts import Request


def pairs(*texts, task="summarize", ask=""):
    return [
        pair(source, f"target {n}", task=task, ask=ask, origin="x")
        for n, source in enumerate(texts)
    ]


def answers(found, *sources, task="summarize", ask=""):
    return found.answers([Request(task, source, ask) for source in sources])


def test_scores_are_bm25_by_hand():
    texts = ["the mill grinds corn", "the the baker", "corn corn at dawn in the mill"]
    index = Retrieval(pairs(*texts))._indexes["summarize", ""]
    terms = np.array([index._numbers["corn"], index._numbers["mill"]])
    idf = math.log(1 + (3 - 2 + 0.5) / (2 + 0.5))  # both stand in two of three texts
    mean = (4 + 3 + 7) / 3

    def score(times, length):
        return idf * times * 2.2 / (times + 1.2 * (0.25 + 0.75 * length / mean))

    found = index._scores(index._blocks[0], np.sort(terms), np.full(2, idf))
    wanted = [2 * score(1, 4), 0, score(2, 7) + score(1, 7)]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_the_most_similar_source_has_the_answer():
    found = Retrieval(pairs("The miller grinds corn.", "A baker sells bread.", "Rain at dawn."))
    assert answers(found, "who SELLS bread?", "corn", "rain, rain", "a") == [
        "target 1",
        "target 0",
        "target 2",
        "target 1",
    ]
    assert answers(found) == []


def test_chinese_is_compared_by_character():
    found = Retrieval(pairs("春眠不觉晓", "床前明月光", "白日依山尽，黄河入海流"))
    assert answers(found, "明月几时有", "黄河之水天上来", "处处春") == [
        "target 1",
        "target 2",
        "target 0",
    ]


def test_of_equals_the_first_wins_and_where_nothing_is_alike_the_first_too(monkeypatch):
    texts = ["other words", "same corn", "corn same", "same corn"]
    for size in (1, 2, 1 << 16):  # pairs in a block
        monkeypatch.setattr(retrieval, "_BLOCK_PAIRS", size)
        found = Retrieval(pairs(*texts))
        assert answers(found, "corn same", "nothing known", "", "!?") == [
            "target 1",
            "target 0",
            "target 0",
            "target 0",
        ]


def test_blocks_change_nothing(monkeypatch):
    texts, asked = small_texts(90, seed=1), small_texts(20, seed=2)
    whole = answers(Retrieval(pairs(*texts)), *asked)
    assert len(set(whole)) > 5
    monkeypatch.setattr(retrieval, "_BLOCK_TERMS", 40)
    found = Retrieval(pairs(*texts))
    assert len(found._indexes["summarize", ""]._blocks) > 10
    assert answers(found, *asked) == whole


def test_a_source_that_was_seen_is_found_among_many():
    texts = small_texts(200, seed=3)
    found = Retrieval(pairs(*texts))
    assert answers(found, *texts) == [f"target {n}" for n in range(200)]


def test_the_task_and_the_language_must_agree():
    found = Retrieval(
        [
            *pairs("the corn", task="summarize"),
            *[pair("the corn", "le blé", task="translate", ask="fr", origin="x")],
            *[pair("the corn", "das Korn", task="translate", ask="de", origin="x")],
        ]
    )
    assert answers(found, "corn", task="translate", ask="de") == ["das Korn"]
    assert answers(found, "corn", task="translate", ask="fr") == ["le blé"]
    assert answers(found, "corn", task="translate", ask="zh") == [""]
    assert answers(found, "corn", task="dialogue") == [""]
    assert answers(found, "corn") == ["target 0"]
    assert answers(Retrieval([]), "corn") == [""]


def test_a_question_is_compared_and_who_speaks_is_not():
    text = "Water boils at 100 degrees and freezes at 0."
    found = Retrieval(
        [
            pair(text, "100", task="answer", ask="When does it boil?", origin="x"),
            pair(text, "0", task="answer", ask="When does it freeze?", origin="x"),
            pair("A: Hello.", "Hi!", task="dialogue", ask="B", origin="x"),
        ]
    )
    assert answers(found, text, task="answer", ask="When does water freeze?") == ["0"]
    assert answers(found, text, task="answer", ask="When does water boil?") == ["100"]
    assert answers(found, "A: Hello!", task="dialogue", ask="C") == ["Hi!"]


def test_long_and_empty_sources_are_defined():
    found = Retrieval(pairs("", "corn " * 10_000, "flour and corn"))
    assert answers(found, "flour") == ["target 2"]
    assert answers(found, "corn " * 10_000) == ["target 1"]
    (block,) = found._indexes["summarize", ""]._blocks
    assert block.lengths.tolist() == [0, 512, 3]
    assert block.times.max() == 255
    assert answers(Retrieval(pairs("", "")), "corn") == ["target 0"]


@pytest.mark.parametrize("ask", ["a, b", "b, a"])
def test_labels_of_other_pairs_are_not_given(ask):
    found = Retrieval(pairs("corn", task="classify", ask="a, b"))
    assert answers(found, "corn", task="classify", ask=ask) == (
        ["target 0"] if ask == "a, b" else [""]
    )

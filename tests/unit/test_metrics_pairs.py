"""What each task is scored by: answers, labels, variety, novelty."""

import gc
import json
import math
import random
import weakref
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from wordmill.errors import DataError
from wordmill.metrics.answers import answer_statistics
from wordmill.metrics.classification import label_statistics
from wordmill.metrics.diversity import diversity_statistics, words_of
from wordmill.metrics.novelty import novelty_statistics
from wordmill.metrics.pairs import PRIMARY, example_values, pair_statistics
from wordmill.metrics.score import scores
from wordmill.tasks import TASKS

CMRC = Path(__file__).parents[2].parent / "shared/data/cmrc2018"
WORDS = "the miller grinds corn at dawn and sells flour".split()  # noqa: SIM905


def sentences(count, *, seed):
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(3, 9))) for _ in range(count)]


def values(statistics):
    return {name: one.value() for name, one in statistics.items()}


@pytest.mark.parametrize("task", [task for task in TASKS if task != "write"])
def test_every_task_has_its_scores(task):
    predictions, references = sentences(30, seed=1), sentences(30, seed=2)
    if task == "classify":
        predictions = references[::-1]
    found = pair_statistics(task, predictions, references)
    assert next(iter(found)) == PRIMARY[task]
    for score in scores(found, samples=100, seed=0).values():
        assert score.low <= score.value <= score.high
        assert score.count == 30
    assert example_values(task, found).shape == (30,)
    turned = pair_statistics(task, predictions[::-1], references[::-1])
    assert values(turned) == pytest.approx(values(found), abs=1e-9)


@pytest.mark.parametrize("task", [task for task in TASKS if task != "write"])
def test_no_pairs_score_nan_and_one_pair_its_value(task):
    nothing = scores(pair_statistics(task, [], []), samples=100, seed=0)
    assert all(math.isnan(s.value) and math.isnan(s.low) and s.count == 0 for s in nothing.values())
    one = scores(pair_statistics(task, ["the corn"], ["the corn"]), samples=100, seed=0)
    assert all(score.low == score.value == score.high for score in one.values())


@pytest.mark.parametrize("task", ["summarize", "translate", "answer", "dialogue"])
@pytest.mark.parametrize(
    "wanted", [["the miller grinds corn", "he sells it to us"], ["春眠不觉晓", "处处闻啼鸟"]]
)
def test_perfect_and_empty_answers(task, wanted):
    best = values(pair_statistics(task, wanted, wanted))
    assert best[PRIMARY[task]] == pytest.approx(100)
    worst = pair_statistics(task, ["", ""], wanted)
    assert values(worst)[PRIMARY[task]] == 0
    assert example_values(task, worst).tolist() == [0, 0]


def test_the_language_is_seen_or_said():
    found = pair_statistics("translate", ["春眠不觉"], ["春眠不觉晓"])
    assert "tok:zh" in found["bleu"].signature
    assert "tok:13a" in pair_statistics("translate", ["a"], ["b"])["bleu"].signature
    assert (
        "tok:zh" in pair_statistics("translate", ["a"], ["b"], languages=["zh"])["bleu"].signature
    )


def test_predictions_and_references_must_be_as_many():
    with pytest.raises(DataError, match="answer: 1 predictions for 2 references"):
        pair_statistics("answer", ["a"], ["a", "b"])


def test_examples_are_sorted_by_what_they_share():
    found = pair_statistics("translate", ["corn", "white flour", ""], ["flour"] * 3)
    best, worst, none = example_values("translate", found)[[1, 0, 2]]
    assert best > worst > none == 0


def answers(prediction, reference, *, is_chinese=False):
    found = answer_statistics([prediction], [reference], is_chinese=is_chinese)
    return found["exact_match"].value(), found["f1"].value()


@pytest.mark.parametrize(
    ("prediction", "reference", "exact", "f1"),
    [
        ("The Miller!", "miller", 100, 100),  # SQuAD's: case, punctuation, articles
        ("in the old mill", "the mill", 0, 50),  # P 1/3, R 1/1
        ("corn corn", "corn", 0, 200 / 3),  # a word counts as often as it is wanted
        ("flour", "corn", 0, 0),
        ("", "corn", 0, 0),
        ("the", "", 100, 100),
        ("it's", "its", 100, 100),
    ],
)
def test_answers_as_squad_scores_them(prediction, reference, exact, f1):
    assert answers(prediction, reference) == (exact, pytest.approx(f1))


@pytest.mark.parametrize(
    ("prediction", "reference", "exact", "f1"),
    [
        ("《春晓》。", "春晓", 100, 100),
        ("春眠不觉晓", "春眠未觉晓", 0, 40),  # the longest run of 5 and 5 has 2
        ("1998年", "1998年", 100, 100),
        ("在1998年", "1998 年", 0, 80),  # P 2/3, R 2/2
        ("", "春", 0, 0),
        ("。", "", 100, 100),
    ],
)
def test_chinese_answers_as_cmrc_scores_them(prediction, reference, exact, f1):
    assert answers(prediction, reference, is_chinese=True) == (exact, pytest.approx(f1))


@pytest.mark.skipif(not CMRC.is_dir(), reason="shared/data is not beside the project")
def test_the_answers_of_cmrc_are_right_answers():
    path = next(CMRC.glob("*.json"))
    found = [
        answer["text"]
        for article in json.loads(path.read_text(encoding="utf-8"))["data"]
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
        for answer in question["answers"]
    ]
    assert len(found) > 100
    scored = answer_statistics(found, found, is_chinese=True)
    assert {one.value() for one in scored.values()} == {100}


def test_labels_by_hand():
    predictions, wanted = ["a", "a", "b", "none"], ["a", "b", "b", "b"]
    found = values(label_statistics(predictions, wanted, labels=["a", "b", "c"]))
    # a: P 1/2, R 1, F 2/3; b: P 1, R 1/3, F 1/2; c neither wanted nor predicted: left out
    assert found["accuracy"] == pytest.approx(50)
    assert found["macro_precision"] == pytest.approx(75)
    assert found["macro_recall"] == pytest.approx(200 / 3)
    assert found["macro_f1"] == pytest.approx(100 * (2 / 3 + 1 / 2) / 2)


@pytest.mark.parametrize("seed", range(5))
def test_labels_are_scored_as_scikit_learn_does(seed):
    metrics = pytest.importorskip("sklearn.metrics")
    draw = random.Random(seed)
    predictions, wanted = (draw.choices("aaabbc" if i else "abcd", k=12) for i in range(2))
    found = values(label_statistics(predictions, wanted, labels=list("abcdef")))
    macro = metrics.precision_recall_fscore_support(
        wanted, predictions, average="macro", zero_division=0
    )
    assert found["accuracy"] == pytest.approx(100 * metrics.accuracy_score(wanted, predictions))
    for name, value in zip(("precision", "recall", "f1"), macro, strict=False):
        assert found[f"macro_{name}"] == pytest.approx(100 * value)


def test_a_wanted_label_must_be_known():
    with pytest.raises(DataError, match="'c' is wanted but is not one of"):
        label_statistics(["a"], ["c"], labels=["a", "b"])


def test_variety_by_hand():
    found = values(diversity_statistics(["a b a b a b!", ""], ["one two three", "four"]))
    assert found["length_ratio"] == pytest.approx(6 / 4)
    assert found["distinct1"] == pytest.approx(2 / 6)  # the empty answer has no words to vary
    assert found["distinct2"] == pytest.approx(2 / 5)  # ab ba ab ba ab
    assert found["repetition"] == pytest.approx(1 / 3)  # abab baba abab
    han = values(diversity_statistics(["春春，夏"], ["春夏"]))
    assert (han["length_ratio"], han["distinct1"]) == (1.5, pytest.approx(2 / 3))


def test_answers_too_short_to_count_have_0():
    assert set(values(diversity_statistics(["", ""], ["", ""])).values()) == {0}


def runs(text):
    words = text.split()
    return [tuple(words[i : i + 8]) for i in range(len(words) - 7)]


def test_novelty_is_the_share_of_unseen_runs(monkeypatch):
    draw = random.Random(0)
    training = [" ".join(draw.choices("abc", k=60)) for _ in range(200)]
    systems = {
        "copies": [text[10:70] for text in training[:20]],
        "writes": [" ".join(draw.choices("abc", k=40)) for _ in range(20)],
        "is short": ["a b c", ""],
    }
    seen = {run for text in training for run in runs(text)}
    for batch_characters in (1, 1 << 20):  # however the training text is cut
        monkeypatch.setattr("wordmill.metrics.novelty._BATCH_CHARACTERS", batch_characters)
        found = novelty_statistics(systems, iter(training))
        assert found["copies"].value() < 0.05
        assert found["is short"].value() == 1
        all_runs = Counter(run for text in systems["writes"] for run in runs(text))
        new = sum(count for run, count in all_runs.items() if run not in seen)
        assert 0 < new < all_runs.total()
        assert found["writes"].value() == pytest.approx(new / all_runs.total())


def test_novelty_sees_through_case_and_punctuation_and_knows_chinese():
    training = ["The miller grinds, at dawn, the whole of his corn.", "春眠不觉晓，处处闻啼鸟。"]
    systems = {"copies": ["the MILLER grinds at dawn the whole of", "眠不觉晓处处闻啼"]}
    assert novelty_statistics(systems, training)["copies"].value() == 0
    assert novelty_statistics(systems, [])["copies"].value() == 1
    assert novelty_statistics({"none": []}, training)["none"].values.shape == (0, 2)


def test_the_words_of_a_batch_are_let_go_at_once():
    """Else a training text that streams by fills the memory until the collector runs."""
    gc.disable()
    try:
        characters = weakref.ref(words_of(["春眠 one two"])._characters)
        assert characters() is None
    finally:
        gc.enable()


def test_a_part_of_the_examples_scores_as_a_set_of_its_own():
    predictions, references = sentences(30, seed=1), sentences(30, seed=2)
    whole = pair_statistics("answer", predictions, references)
    part = pair_statistics("answer", predictions[5:12], references[5:12])
    chosen = (np.arange(30) >= 5) & (np.arange(30) < 12)
    for name, one in whole.items():
        assert one.only(chosen).value() == part[name].value()


def test_a_set_of_two_languages_is_scored_in_two_ways_row_by_row():
    answers = ["the corn", "春眠不觉", "a mill"]
    wanted = ["the corn grows", "春眠不觉晓", "a mill"]
    mixed = pair_statistics("translate", answers, wanted, languages=["en", "zh", ""])
    english = pair_statistics("translate", answers[::2], wanted[::2], languages=["en", "en"])
    chinese = pair_statistics("translate", answers[1:2], wanted[1:2], languages=["zh"])
    for name, found in mixed.items():
        assert (found.values[[0, 2]] == english[name].values).all()
        assert (found.values[[1]] == chinese[name].values).all()
    assert "tok:13a" in mixed["bleu"].signature
    assert "tok:zh" in mixed["bleu"].signature

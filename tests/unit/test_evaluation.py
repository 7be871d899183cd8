"""The comparison: parts of the set, examples that are shown, drafts, differences."""

import json

import numpy as np
import pytest
from conftest import SMALL_PARAMS, small_texts, small_tokenizer

from wordmill.data.records import document, pair
from wordmill.evaluation.answering import Answering, labels_of
from wordmill.evaluation.board import Board
from wordmill.evaluation.comparison import Comparison, set_hash
from wordmill.evaluation.examples import chosen
from wordmill.evaluation.exercises import drafts, of_pairs
from wordmill.evaluation.slices import parts
from wordmill.generation.engine import Engine
from wordmill.metrics.likelihood import HeldOut
from wordmill.metrics.novelty import novelty_statistics
from wordmill.metrics.pairs import pair_statistics
from wordmill.metrics.perplexity import document_statistics
from wordmill.models.ngram_model import NgramModel
from wordmill.models.retrieval import Retrieval
from wordmill.models.vocabulary import vocabulary_of
from wordmill.params.evaluate import EvaluateParams
from wordmill.progress import Progress
from wordmill.report.markdown import score_table
from wordmill.tokens.prompts import Request
from wordmill.tokens.store import running_text
from wordmill.tokens.tokenizer import encode_batch, end_id, set_direction

PARAMS = EvaluateParams(**{**SMALL_PARAMS["evaluate"], "ngram_order": 3, "batch_size": 2})


@pytest.fixture(scope="module")
def tokenizer():
    return small_tokenizer(small_texts(200, seed=0))


def ngram(texts, tokenizer, order=3):
    text = running_text(encode_batch(tokenizer, texts), end_id=end_id(tokenizer))
    return NgramModel.train(text, order=order, vocabulary=vocabulary_of(tokenizer))


def held_out(documents, tokenizer):
    texts = [one.text for one in documents]
    num_bytes = np.array([len(text.encode()) for text in texts], dtype=np.float64)
    return HeldOut(encode_batch(tokenizer, texts), num_bytes, end_id(tokenizer))


def comparison(tokenizer):
    return Comparison(
        tokenizer=tokenizer,
        params=PARAMS,
        context_tokens=64,
        seed=1,
        show=lambda _: None,
        every_seconds=100,
    )


def answering(exercises, tokenizer, **labels):
    return Answering(
        exercises,
        tokenizer=tokenizer,
        params=PARAMS,
        max_source_tokens=32,
        show=lambda _: None,
        every_seconds=100,
        labels=labels,
    )


def summaries(count, seed=3):
    return of_pairs(
        [
            pair(text, text[:9], task="summarize", origin="made", language="en")
            for text in small_texts(count, seed=seed)
        ]
    )


def test_equal_models_have_equal_scores_and_no_difference(tokenizer):
    model = ngram(small_texts(150, seed=1), tokenizer)
    documents = [document(text, origin="made") for text in small_texts(5, seed=2)]
    found = comparison(tokenizer).documents(
        documents, held_out(documents, tokenizer), {"pretrained": model, "twin": model}
    )
    assert found.scores["pretrained"] == found.scores["twin"]
    (difference,) = found.differences
    assert (difference["value"], difference["low"], difference["high"]) == (0, 0, 0)
    assert difference["p_bootstrap"] == difference["p_randomization"] == 1


def test_a_shuffled_set_has_the_same_scores(tokenizer):
    texts = small_texts(150, seed=1)
    model = ngram(texts, tokenizer)
    exercises = summaries(12)
    values = []
    for order in (np.arange(12), np.random.default_rng(0).permutation(12)):
        some = [exercises[row] for row in order]
        said = answering(some, tokenizer).of_model("finetuned", model).texts
        novelty = novelty_statistics({"finetuned": said}, texts)
        part = comparison(tokenizer).task(some, [5] * 12, {"finetuned": said}, novelty)
        values.append({name: s["value"] for name, s in part.scores["finetuned"].items()})
    assert values[0] == pytest.approx(values[1], rel=1e-12)
    assert set_hash(e.id for e in exercises) == set_hash(e.id for e in exercises[::-1])


def test_the_task_s_part_has_every_system_and_examples(tokenizer):
    exercises = summaries(40)
    said = {
        "lead": answering(exercises, tokenizer).lead().texts,
        "finetuned": [one.target for one in exercises],
        "empty": [""] * 40,
    }
    novelty = novelty_statistics(said, [one.source for one in exercises])
    part = comparison(tokenizer).task(exercises, list(range(40)), said, novelty)
    assert set(part.scores) == set(said)
    assert part.scores["finetuned"]["rougeL"]["value"] == 100
    assert part.scores["empty"]["rougeL"]["value"] == 0
    assert [(d["a"], d["b"]) for d in part.differences] == [
        ("finetuned", "lead"),
        ("finetuned", "empty"),
    ]
    assert {s["by"] for s in part.slices} == {"length"}
    assert sum(s["count"] for s in part.slices) == 40
    assert all(set(e["predictions"]) == set(said) for e in part.examples)


def test_the_best_two_are_compared_where_neither_is_ours():
    wanted = ["the mill grinds the corn", "the miller sleeps"] * 5
    said = {
        "finetuned": [""] * 10,
        "good": wanted,
        "fair": ["the mill", "the miller"] * 5,
    }
    systems = {name: pair_statistics("summarize", texts, wanted) for name, texts in said.items()}
    board = Board("summarize", primary="rougeL", systems=systems, samples=100, seed=0)
    found = board.differences("finetuned")
    assert [(d["a"], d["b"]) for d in found] == [
        ("finetuned", "good"),
        ("finetuned", "fair"),
        ("good", "fair"),
    ]
    assert found[2]["value"] > 0


def test_labels_are_the_only_answers_of_classify(tokenizer):
    rows = [
        pair(text, label, task="classify", origin="made", ask="good, bad")
        for text, label in zip(small_texts(8, seed=4), ["good", "bad"] * 4, strict=True)
    ]
    labels = labels_of(rows)
    assert labels == {"good, bad": ["bad", "good"]}
    model = ngram(small_texts(50, seed=1), tokenizer)
    found = answering(of_pairs(rows), tokenizer, **labels).of_model("n-gram", model)
    assert set(found.texts) <= {"good", "bad"}
    assert found.num_tokens == 0


def test_an_engine_that_knows_the_labels_says_nothing_else(tokenizer):
    model = ngram(small_texts(50, seed=1), tokenizer)
    labels = {"good, bad": ["bad", "good"]}
    settings = {"decoding": PARAMS.decoding, "max_source_tokens": 32, "batch_size": 2}
    engine = Engine(model, tokenizer, labels=labels, **settings)
    asked = [Request("classify", text, "good, bad") for text in small_texts(3, seed=4)]
    others = [Request("classify", "x", "never asked"), Request("write", "the mill")]
    free = Engine(model, tokenizer, **settings)
    found = engine.answer([others[0], *asked, others[1]], progress=Progress("test"))
    assert set(found[1:4]) <= {"good", "bad"}
    places = free.choose(asked, [labels["good, bad"]] * 3, progress=Progress("test"))
    assert found[1:4] == [labels["good, bad"][place] for place in places]
    assert [found[0], found[4]] == free.answer(others, progress=Progress("test"))
    assert "".join(engine.stream(asked[0])) == found[1]


def test_too_many_labels_are_texts():
    rows = [pair("x", f"label {n}", task="classify", origin="made") for n in range(300)]
    assert labels_of(rows) == {}


def test_retrieval_answers_with_a_training_target(tokenizer):
    training = [
        pair("the mill grinds corn", "corn", task="summarize", origin="made"),
        pair("rain falls on the roof", "rain", task="summarize", origin="made"),
    ]
    asked = of_pairs([pair("corn is ground in a mill", "x", task="summarize", origin="made")])
    assert answering(asked, tokenizer).retrieved(Retrieval(training)).texts == ["corn"]


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_a_draft_and_what_is_wanted_stand_side_by_side(direction):
    tokenizer = small_tokenizer(small_texts(200, seed=0))
    set_direction(tokenizer, direction)
    documents = [document(text, origin="made", language="en") for text in small_texts(9, seed=5)]
    found = drafts(documents, tokenizer, count=4, source_tokens=12, target_tokens=6)
    assert len(found) == 4
    by_id = {one.id: one.text for one in documents}
    for one in found:
        sides = (one.source, one.target) if direction == "forward" else (one.target, one.source)
        assert all(by_id[one.id].find(side) >= 0 for side in sides)
        assert by_id[one.id].find(sides[0]) < by_id[one.id].find(sides[1])
        assert one.task == "write"


def test_short_documents_and_split_characters_make_no_draft(tokenizer):
    assert drafts([document("ab", origin="made")], tokenizer, **DRAFTS) == []
    chinese = [document("春眠不觉晓处处闻啼鸟" * 3 + "x" * n, origin="made") for n in range(6)]
    found = drafts(chinese, tokenizer, **DRAFTS)
    assert all("\ufffd" not in one.source + one.target for one in found)


DRAFTS = {"count": 9, "source_tokens": 50, "target_tokens": 7}


def test_examples_are_shown_once_and_for_the_first_reason():
    values = np.arange(30, dtype=np.float64)
    found = chosen(values)
    assert [one.row for one in found if one.why == "best"] == [29, 28, 27, 26]
    assert [one.row for one in found if one.why == "worst"] == [0, 1, 2, 3]
    assert {one.row for one in found if one.why == "typical"} == {13, 14, 15, 16}
    assert len({one.row for one in found}) == len(found) == 4 + 4 + 4 + 8


def test_examples_of_few_and_of_none():
    assert [one.why for one in chosen(np.array([1.0]))] == ["best"]
    assert chosen(np.empty(0)) == []


def test_parts_are_told_where_there_is_more_than_one():
    one = summaries(40)[0]
    rows = [one._replace(language=code) for code in ["en"] * 25 + ["zh"] * 12 + ["de"] * 3]
    found = list(parts(rows, [7] * 40))
    assert [(part.by, part.name, len(part.rows)) for part in found] == [
        ("language", "en", 25),
        ("language", "zh", 12),
    ]


def test_parts_by_length_have_every_example_once():
    rows = summaries(50)
    found = [part for part in parts(rows, list(range(50))) if part.by == "length"]
    assert len(found) == 3
    assert sorted(np.concatenate([part.rows for part in found])) == list(range(50))
    assert found[0].name.startswith("0 to ")


def test_a_label_that_is_chosen_and_nowhere_wanted_counts_in_the_macro_scores(tokenizer):
    rows = [
        pair(text, label, task="classify", origin="made")
        for text, label in zip(small_texts(4, seed=4), ["good", "good", "bad", "bad"], strict=True)
    ]
    said = {"finetuned": ["good", "rare", "bad", "bad"]}
    part = comparison(tokenizer).task(
        of_pairs(rows), [5] * 4, said, {}, labels=["bad", "good", "rare"]
    )
    # F1 of good is 2/3, of bad 1, and of rare 0: as scikit-learn has it.
    assert part.scores["finetuned"]["macro_f1"]["value"] == pytest.approx(100 * (2 / 3 + 1) / 3)


def test_an_example_names_the_score_that_it_has(tokenizer):
    texts = small_texts(3, seed=4)
    rows = [pair(text, text, task="translate", origin="made", ask="German") for text in texts]
    novelty = novelty_statistics({"finetuned": texts}, [])
    part = comparison(tokenizer).task(of_pairs(rows), [5] * 3, {"finetuned": texts}, novelty)
    assert {(one["metric"], one["value"]) for one in part.examples} == {("chrf", 100.0)}


def test_a_progress_line_never_counts_more_than_there_is(tokenizer):
    rows = [
        pair(text, label, task="classify", origin="made")
        for text, label in zip(small_texts(6, seed=4), ["a", "b", "c"] * 2, strict=True)
    ]
    lines = []
    asked = Answering(
        of_pairs(rows),
        tokenizer=tokenizer,
        params=PARAMS,
        max_source_tokens=32,
        show=lines.append,
        every_seconds=0,
        labels=labels_of(rows),
    )
    asked.of_model("n-gram", ngram(small_texts(50, seed=1), tokenizer))
    assert lines
    assert "6/6" in lines[-1]
    assert all("100%" not in line for line in lines[:-1])


def test_a_perplexity_that_no_number_holds_is_none_in_the_record():
    """A text without spaces is one word: its perplexity by word may be infinite."""
    nll = np.full(3, 2000.0)
    sizes = {"num_tokens": np.full(3, 900.0), "num_words": np.ones(3), "num_bytes": np.ones(3)}
    measured = document_statistics(nll, **sizes, tokenizer="t", signature="s")
    systems = {"pretrained": measured}
    board = Board("documents", primary="bits_per_byte", systems=systems, samples=100, seed=0)
    scores = board.scores()
    found = scores["pretrained"]["word_perplexity"]
    assert (found["value"], found["low"], found["high"]) == (None, None, None)
    json.dumps(scores, allow_nan=False)
    assert "–" in score_table(scores, with_intervals=True)

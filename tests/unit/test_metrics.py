import math
import random

import numpy as np
import pytest
import sacrebleu
import torch
from rouge_score import rouge_scorer
from transformers import LlamaConfig, LlamaForCausalLM

from wordmill.metrics.likelihood import HeldOut, likelihood_scores, model_nll, ngram_nll
from wordmill.metrics.overlap import overlap_scores
from wordmill.metrics.score import bootstrap_ratios, interval
from wordmill.models.lead import first_sentence
from wordmill.models.ngram import KneserNey
from wordmill.progress import Progress

WORDS = "the miller grinds corn at dawn and sells flour".split()  # noqa: SIM905


def sentences(count, *, seed):
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(3, 9))) for _ in range(count)]


def overlap(predictions, references):
    return overlap_scores(predictions, references, samples=100, seed=0)


@pytest.fixture(scope="module")
def scored():
    predictions, references = sentences(40, seed=1), sentences(40, seed=2)
    return predictions, references, overlap(predictions, references)


def test_bleu_and_chrf_are_sacrebleus(scored):
    predictions, references, scores = scored
    assert scores["bleu"].value == sacrebleu.corpus_bleu(predictions, [references]).score
    assert scores["chrf"].value == sacrebleu.corpus_chrf(predictions, [references]).score
    assert "tok:13a" in scores["bleu"].signature


def test_rouge_is_rouge_scores(scored):
    predictions, references, scores = scored
    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"])
    found = [scorer.score(r, p) for p, r in zip(predictions, references, strict=True)]
    for kind in ("rouge1", "rouge2", "rougeL"):
        wanted = 100 * np.mean([one[kind].fmeasure for one in found])
        assert scores[kind].value == pytest.approx(wanted, abs=1e-12)


def test_the_order_of_examples_changes_no_score(scored):
    predictions, references, scores = scored
    turned = overlap(predictions[::-1], references[::-1])
    for name, score in scores.items():
        assert turned[name].value == pytest.approx(score.value, abs=1e-9)


def test_an_interval_holds_its_score(scored):
    for score in scored[2].values():
        assert score.low <= score.value <= score.high
        assert score.count == 40


def test_a_perfect_answer_scores_100():
    texts = sentences(10, seed=3)
    assert {round(s.value, 9) for s in overlap(texts, texts).values()} == {100}


def test_answers_that_score_zero_here_and_there_have_an_interval():
    """sacrebleu's own bootstrap fails on these."""
    scores = overlap(["", "zz", "the miller"], ["the corn", "flour", "the miller grinds"])
    assert all(0 <= score.low <= score.value <= score.high for score in scores.values())


def test_an_empty_answer_scores_0():
    scores = overlap([""] * 5, sentences(5, seed=4))
    assert {score.value for score in scores.values()} == {0}


def test_rouge_by_hand():
    # one of two words right, one of three wanted found: P 1/2, R 1/3, F 2/5
    scores = overlap(["the cat"], ["the dog barks"])
    assert scores["rouge1"].value == pytest.approx(40)
    assert scores["rouge2"].value == 0


def test_chinese_is_scored_by_character():
    scores = overlap(["春眠不觉晓"], ["春眠不觉寒"])
    assert scores["rouge1"].value == pytest.approx(80)
    assert "tok:zh" in scores["bleu"].signature
    assert "tok:han" in scores["rouge1"].signature


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One here. Two there.", "One here."),
        ("e.g this 3.14 goes on! Then.", "e.g this 3.14 goes on!"),
        ("no stop\nat all", "no stop at all"),
        ("a paragraph\n\nanother", "a paragraph"),
        ("春眠不觉晓。处处闻啼鸟。", "春眠不觉晓。"),
        ("", ""),
    ],
)
def test_first_sentence(text, expected):
    assert first_sentence(text) == expected


def uniform_model(vocab_size):
    """A model whose every next token is equally likely, whatever came before."""
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=16,
    )
    model = LlamaForCausalLM(config).eval()
    torch.nn.init.zeros_(model.lm_head.weight)
    return model


def nll(model, held_out, *, stride_tokens=8, batch_size=3):
    return model_nll(
        model,
        held_out,
        context_tokens=16,
        stride_tokens=stride_tokens,
        batch_size=batch_size,
        progress=Progress("test"),
    )


def held_out(lengths, *, vocab_size=256, seed=0):
    draw = np.random.default_rng(seed)
    ids = [draw.integers(1, vocab_size, length).tolist() for length in lengths]
    return HeldOut(ids, np.array(lengths, dtype=float), 0)


def test_a_uniform_model_needs_log2_v_bits_a_byte():
    documents = held_out([5, 40, 16, 15, 1])
    losses = nll(uniform_model(256), documents)
    np.testing.assert_allclose(losses, [(n + 1) * math.log(256) for n in (5, 40, 16, 15, 1)], 1e-6)
    scores = likelihood_scores(losses, documents, signature="s", samples=100, seed=0)
    assert scores["perplexity"].value == pytest.approx(256)
    assert scores["bits_per_byte"].value == pytest.approx(8 * (77 + 5) / 77)


@pytest.fixture(scope="module")
def small_model():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=16,
    )
    return LlamaForCausalLM(config).eval()


def test_perplexity_is_what_transformers_gives(small_model):
    documents = held_out([12], vocab_size=32)
    text = torch.tensor([[0, *documents.ids[0], 0]])
    with torch.no_grad():
        wanted = small_model(text, labels=text).loss.item() * 13
    assert nll(small_model, documents)[0] == pytest.approx(wanted, rel=1e-6)


def test_batching_and_padding_change_nothing(small_model):
    documents = held_out([3, 14, 30, 7, 55], vocab_size=32)
    one, many = (nll(small_model, documents, batch_size=size) for size in (1, 50))
    np.testing.assert_allclose(one, many, rtol=1e-6)


def test_windows_give_every_later_token_context(small_model):
    """By hand: from the second window on, a token has at least T - stride before it."""
    documents = held_out([30], vocab_size=32)
    text = [0, *documents.ids[0], 0]
    wanted = 0.0
    for begin, first in ((0, 1), (8, 17), (16, 25)):
        inputs = text[begin : begin + 16]
        with torch.no_grad():
            log_p = small_model(torch.tensor([inputs])).logits[0].log_softmax(-1)
        last = min(begin + 16, 31)
        wanted -= sum(log_p[i - 1 - begin, text[i]].item() for i in range(first, last + 1))
    assert nll(small_model, documents)[0] == pytest.approx(wanted, rel=1e-6)


def test_the_ngram_scores_the_same_events():
    documents = held_out([4, 1, 9], vocab_size=6)
    model = KneserNey(np.array([0, 1, 2, 3, 0]), order=2, vocab_size=6, end_id=0)
    losses = ngram_nll(model, documents)
    for ids, loss in zip(documents.ids, losses, strict=True):
        alone = -model.log_probabilities(np.array([0, *ids, 0])).sum()
        assert loss == pytest.approx(alone)


def test_the_bootstrap_is_seeded_and_covers_the_mean():
    values = np.random.default_rng(0).normal(5, 1, 400)
    ones = np.ones(400)
    means = bootstrap_ratios(values, ones, samples=2000, seed=1)
    assert (means == bootstrap_ratios(values, ones, samples=2000, seed=1)).all()
    low, high = interval(means)
    # the normal interval of a mean: 1.96 standard errors to each side
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)


def test_identical_systems_have_identical_intervals():
    values = np.random.default_rng(0).random(50)
    one, other = (bootstrap_ratios(values, values + 1, samples=100, seed=3) for _ in range(2))
    assert (one - other == 0).all()

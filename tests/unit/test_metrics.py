import math

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from wordmill.metrics.likelihood import HeldOut, model_nll, ngram_nll, ngram_token_nll, token_nll
from wordmill.metrics.perplexity import count_words, document_statistics
from wordmill.metrics.score import scores
from wordmill.models.lead import first_sentence
from wordmill.models.ngram import KneserNey
from wordmill.progress import Progress


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


def document_scores(nll, held_out, *, num_words=None):
    num_tokens = np.array([len(ids) + 1.0 for ids in held_out.ids])
    found = document_statistics(
        nll,
        num_tokens=num_tokens,
        num_words=num_tokens if num_words is None else np.array(num_words, dtype=float),
        num_bytes=held_out.num_bytes,
        tokenizer="t",
        signature="s",
    )
    return scores(found, samples=100, seed=0)


def test_a_uniform_model_needs_log2_v_bits_a_byte():
    documents = held_out([5, 40, 16, 15, 1])
    losses = nll(uniform_model(256), documents)
    np.testing.assert_allclose(losses, [(n + 1) * math.log(256) for n in (5, 40, 16, 15, 1)], 1e-6)
    found = document_scores(losses, documents)
    assert found["perplexity"].value == pytest.approx(256)
    assert found["bits_per_byte"].value == pytest.approx(8 * (77 + 5) / 77)


def test_perplexities_by_hand():
    """Two documents of 4 + 2 nats, 3 tokens and 2 words with their ends, 8 bytes."""
    documents = HeldOut([[1], []], np.array([8.0, 0.0]), 0)
    found = document_scores(np.array([4.0, 2.0]), documents, num_words=[1, 1])
    assert found["perplexity"].value == pytest.approx(math.exp(6 / 3))
    assert found["word_perplexity"].value == pytest.approx(math.exp(6 / 2))
    assert found["bits_per_byte"].value == pytest.approx(6 / math.log(2) / 8)
    assert {score.signature for score in found.values()} == {
        "perplexity|by:tokens|tokenizer:t|s",
        "word_perplexity|by:words,han-characters,line-ends|s",
        "bits_per_byte|by:utf-8-bytes|s",
    }


def test_what_cannot_be_divided_is_not_a_number():
    empty = document_scores(np.array([2.0]), HeldOut([[]], np.zeros(1), 0))
    assert math.isnan(empty["bits_per_byte"].value)
    assert empty["perplexity"].value == pytest.approx(math.exp(2))
    nothing = document_scores(np.zeros(0), HeldOut([], np.zeros(0), 0))
    assert all(math.isnan(score.value) and score.count == 0 for score in nothing.values())


def test_a_hopeless_model_has_infinite_perplexity():
    found = document_scores(np.array([1e6, 5.0]), HeldOut([[1], [2]], np.ones(2), 0))
    assert found["perplexity"].value == math.inf


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 1),
        ("one two", 3),
        ("  one\n\ntwo ", 5),  # two words, two line ends and that of the document
        ("春眠不觉晓，", 7),  # five characters, a comma, an end
        ("用GPT写诗", 5),  # 用 GPT 写 诗 and an end
    ],
)
def test_words_and_line_ends(text, expected):
    assert count_words([text]).tolist() == [expected]


def test_words_of_plain_text_stand_between_spaces():
    text = "It's (3.14) e.g. – naïve,\tyes\u3000no"
    assert count_words([text])[0] == len(text.split()) + 1


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


def tokens(model, held_out, *, batch_size=3, stride_tokens=8):
    return token_nll(
        model,
        held_out,
        context_tokens=16,
        stride_tokens=stride_tokens,
        batch_size=batch_size,
        progress=Progress("test"),
    )


def test_tokens_sum_to_their_documents(small_model):
    documents = held_out([3, 55, 0, 16, 15], vocab_size=32)
    found = tokens(small_model, documents)
    assert [len(one) for one in found] == [4, 56, 1, 17, 16]
    assert all((one > 0).all() for one in found)  # none was forgotten
    assert [one.sum() for one in found] == nll(small_model, documents).tolist()


def test_a_token_is_scored_given_those_before_it(small_model):
    documents = held_out([9], vocab_size=32)
    text = torch.tensor([[0, *documents.ids[0], 0]])
    with torch.no_grad():
        log_p = small_model(text).logits[0].log_softmax(-1)
    wanted = [-log_p[i, text[0, i + 1]].item() for i in range(10)]
    np.testing.assert_allclose(tokens(small_model, documents)[0], wanted, rtol=1e-5)


def test_documents_of_nothing(small_model):
    nothing = HeldOut([], np.zeros(0), 0)
    assert nll(small_model, nothing).shape == (0,)
    model = KneserNey(np.array([0, 1, 2, 3, 0]), order=2, vocab_size=6, end_id=0)
    assert ngram_nll(model, nothing).shape == (0,)
    assert [len(one) for one in ngram_token_nll(model, HeldOut([[], [1]], np.ones(2), 0))] == [1, 2]

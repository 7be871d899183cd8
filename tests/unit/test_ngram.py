"""The n-gram model against a dictionary that does the same by the book, one gram at a time."""

from collections import defaultdict

import numpy as np
import pytest

from wordmill.models.ngram import KneserNey, _discounts

END = 0


def draw_text(num_tokens, *, vocab_size, seed):
    draw = np.random.default_rng(seed)
    ids = np.minimum(draw.geometric(0.25, num_tokens), vocab_size - 1)
    ids[draw.random(num_tokens) < 0.08] = END
    ids[0] = ids[-1] = END
    return ids


class ByTheBook:
    """Chen and Goodman's recursion, written over dictionaries."""

    def __init__(self, ids, order, vocab_size):
        self.order, self.vocab_size = order, vocab_size
        grams = [defaultdict(int) for _ in range(order + 1)]
        for i in range(1, len(ids)):
            for m in range(1, order + 1):
                gram = tuple(ids[i - m + 1 : i + 1])
                if i - m + 1 < 0 or END in gram[1:-1]:
                    break
                grams[m][gram] += 1
        self.counts = [None, *grams[1:]]
        for m in range(1, order):
            before = defaultdict(set)
            for gram in grams[m + 1]:
                before[gram[1:]].add(gram[0])
            self.counts[m] = {g: len(before[g]) or n for g, n in grams[m].items()}
        self.discounts = [None] + [
            (0.0, *_discounts(np.array(list(c.values())))) for c in self.counts[1:]
        ]

    def probability(self, context, token):
        context = context[len(context) - min(len(context), self.order - 1) :]
        if END in context:
            context = context[len(context) - 1 - context[::-1].index(END) :]
        return self._at(tuple(context), token)

    def _at(self, context, token):
        m = len(context) + 1
        lower = self._at(context[1:], token) if context else 1 / self.vocab_size
        following = {g[-1]: n for g, n in self.counts[m].items() if g[:-1] == context}
        total = sum(following.values())
        if total == 0:
            return lower
        discount = self.discounts[m]
        left = sum(discount[min(n, 3)] for n in following.values())
        n = following.get(token, 0)
        return (n - discount[min(n, 3)]) / total + left / total * lower


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_it_is_what_the_book_says(order):
    train = draw_text(400, vocab_size=9, seed=1)
    test = draw_text(80, vocab_size=9, seed=2)
    book = ByTheBook(train.tolist(), order, 9)
    wanted = [book.probability(test[:i].tolist(), int(test[i])) for i in range(1, len(test))]
    model = KneserNey(train, order=order, vocab_size=9, end_id=END)
    np.testing.assert_allclose(np.exp(model.log_probabilities(test)), wanted, rtol=1e-12)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_probabilities_of_all_tokens_sum_to_one(order):
    train = draw_text(300, vocab_size=7, seed=3)
    model = KneserNey(train, order=order, vocab_size=7, end_id=END)
    context = [END, 3, 1, 2]
    total = sum(
        np.exp(model.log_probabilities(np.array([*context, token]))[-1]) for token in range(7)
    )
    assert total == pytest.approx(1)


def test_a_token_never_seen_is_still_possible():
    model = KneserNey(np.array([0, 1, 2, 0]), order=3, vocab_size=50, end_id=END)
    assert np.isfinite(model.log_probabilities(np.array([0, 40, 41, 0]))).all()


def test_what_stands_before_a_document_does_not_matter():
    train = draw_text(300, vocab_size=7, seed=4)
    model = KneserNey(train, order=4, vocab_size=7, end_id=END)
    alone = model.log_probabilities(np.array([0, 3, 1, 0]))
    after = model.log_probabilities(np.array([0, 5, 5, 2, 0, 3, 1, 0]))
    np.testing.assert_array_equal(after[-3:], alone)


def test_a_unigram_model_counts_tokens():
    train = np.array([0] + [1] * 60 + [2] * 30 + [0])
    found = np.exp(KneserNey(train, order=1, vocab_size=3, end_id=END).log_probabilities(train))
    assert found[0] == pytest.approx(60 / 91, abs=0.02)
    assert found[70] == pytest.approx(30 / 91, abs=0.02)


def test_longer_context_helps_on_regular_text():
    train = np.array([0, *[1, 2, 3, 4] * 50, 0])
    losses = [
        -KneserNey(train, order=order, vocab_size=5, end_id=END).log_probabilities(train).mean()
        for order in (1, 2)
    ]
    assert losses[1] < 0.1 < losses[0]

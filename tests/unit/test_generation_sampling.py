"""What is drawn: by the right probabilities, cut as asked, and the same in any company."""

import numpy as np
import pytest
import torch
from conftest import SMALL_PARAMS, decoding_params, small_texts, small_tokenizer

from wordmill.errors import ParamsError
from wordmill.generation.choosing import Choice, Drawing, drawn, draws_of
from wordmill.generation.engine import Engine
from wordmill.models.building import new_model
from wordmill.models.ngram_model import NgramModel
from wordmill.models.vocabulary import Vocabulary, vocabulary_of
from wordmill.params.model import ModelParams
from wordmill.progress import Progress
from wordmill.tokens.prompts import Request
from wordmill.tokens.store import running_text
from wordmill.tokens.tokenizer import encode_batch, end_id

PROBABILITIES = torch.tensor([0.4, 0.0, 0.3, 0.15, 0.1, 0.05])
LOGITS = PROBABILITIES.log()
NUM_DRAWS = 20_000


def tokens_of(**changes):
    """Many draws from the known distribution."""
    choice = Choice(decoding_params(temperature=1.0, **changes), end_id=0)
    draws = draws_of([[7]], [0], seed=1, num_steps=NUM_DRAWS)[0]
    return choice(LOGITS.expand(NUM_DRAWS, -1), None, draws)


def shares(tokens):
    return torch.bincount(tokens, minlength=len(LOGITS)) / len(tokens)


def chi_square(tokens, wanted):
    counts = torch.bincount(tokens, minlength=len(wanted)).double()
    expected = wanted.double() * len(tokens)
    is_possible = expected > 0
    assert int(counts[~is_possible].sum()) == 0
    return float(((counts - expected)[is_possible] ** 2 / expected[is_possible]).sum())


# Above 25 with 4 degrees of freedom once in 20,000 times.
def test_tokens_come_as_often_as_they_are_probable():
    assert chi_square(tokens_of(), PROBABILITIES) < 25


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({"top_k": 2}, [0, 2]),
        ({"top_k": 1}, [0]),
        ({"top_k": 100}, [0, 2, 3, 4, 5]),
        ({"top_p": 0.65}, [0, 2]),
        ({"top_p": 0.75}, [0, 2, 3]),
        ({"min_p": 0.3}, [0, 2, 3]),
        ({"min_p": 0.2}, [0, 2, 3, 4]),
        ({"top_k": 4, "min_p": 0.3}, [0, 2, 3]),
    ],
)
def test_cuts_leave_what_they_should_and_its_proportions(changes, left):
    wanted = torch.zeros_like(PROBABILITIES)
    wanted[left] = PROBABILITIES[left]
    assert chi_square(tokens_of(**changes), wanted / wanted.sum()) < 25


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_temperature_sharpens_or_flattens(temperature):
    choice = Choice(decoding_params(temperature=temperature), end_id=0)
    draws = draws_of([[7]], [0], seed=2, num_steps=NUM_DRAWS)[0]
    tokens = choice(LOGITS.expand(NUM_DRAWS, -1), None, draws)
    wanted = PROBABILITIES ** (1 / temperature)
    assert chi_square(tokens, wanted / wanted.sum()) < 25


def test_the_ends_of_a_draw_are_tokens_that_are_possible():
    scores = torch.tensor([[-torch.inf, 0.0, 0.0, -torch.inf]]).expand(4, -1)
    draws = torch.tensor([0.0, 0.49, 0.5, 1 - 2.0**-53], dtype=torch.float64)
    assert drawn(scores, draws).tolist() == [1, 1, 2, 2]


def test_generate_draws_the_same_tokens():
    draws = draws_of([[7], [8]], [0, 0], seed=3, num_steps=5)
    process = Drawing(draws, num_given=2)
    scores = torch.randn(2, 6, generator=torch.Generator().manual_seed(1))
    left = process(torch.zeros(2, 5, dtype=torch.long), scores)
    assert left.argmax(-1).tolist() == drawn(scores, draws[:, 3]).tolist()
    assert int(left.isfinite().sum()) == 2


def test_draws_follow_from_seed_prompt_number_and_step():
    one = draws_of([[3, 4]], [0], seed=1, num_steps=4)[0]
    others = [
        draws_of([[3, 4]], [0], seed=2, num_steps=4)[0],
        draws_of([[3, 5]], [0], seed=1, num_steps=4)[0],
        draws_of([[3, 4, 0]], [0], seed=1, num_steps=4)[0],
        draws_of([[3, 4]], [1], seed=1, num_steps=4)[0],
    ]
    assert len({tuple(row.tolist()) for row in (one, *others)}) == 5
    assert len(set(one.tolist())) == 4
    longer = draws_of([[9], [3, 4]], [5, 0], seed=1, num_steps=40)[1]
    assert longer[:4].tolist() == one.tolist()
    assert bool(((one >= 0) & (one < 1)).all())


TEXTS = small_texts(12, seed=5)
REQUESTS = [Request("summarize", text[: 20 + 4 * i]) for i, text in enumerate(TEXTS)]


@pytest.fixture(scope="module")
def tokenizer():
    return small_tokenizer(small_texts(100, seed=4), vocab_size=300)


def transformer(kind, **changes):
    values = {**SMALL_PARAMS["model"], "kind": kind}
    section = kind.replace("-", "_")
    values[section] = {**values[section], **changes}
    made = new_model(ModelParams(**values), Vocabulary(300, end_id=0, pad_id=1), seed=3).eval()
    draw = torch.Generator().manual_seed(1)
    for parameter in made.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3, generator=draw)
    return made


@pytest.fixture(scope="module", params=["decoder", "t5", "lstm", "ngram"])
def model(request, tokenizer):
    if request.param == "ngram":
        ids = running_text(encode_batch(tokenizer, small_texts(200, seed=1)), end_id=0)
        assert end_id(tokenizer) == 0
        return NgramModel.train(ids, order=3, vocabulary=vocabulary_of(tokenizer))
    if request.param == "t5":
        return transformer("encoder-decoder", style="t5")
    return transformer(request.param)


def engine(model, tokenizer, *, batch_size=5, **changes):
    decoding = decoding_params(**{"max_new_tokens": 10, "temperature": 1.0, "seed": 4, **changes})
    return Engine(model, tokenizer, decoding=decoding, max_source_tokens=40, batch_size=batch_size)


def answers(model, tokenizer, requests=REQUESTS, **settings):
    return engine(model, tokenizer, **settings).answer(requests, progress=Progress("test"))


def several(model, tokenizer, requests=REQUESTS, **settings):
    made = engine(model, tokenizer, **settings)
    return made.generate(requests, progress=Progress("test"), num_sequences=3)


def test_company_order_and_batches_change_no_draw(model, tokenizer):
    plain = answers(model, tokenizer)
    assert len(set(plain)) > 6
    for batch_size in (1, 3, 12):
        assert answers(model, tokenizer, batch_size=batch_size) == plain
    turned = answers(model, tokenizer, REQUESTS[::-1], batch_size=4)
    assert turned == plain[::-1]
    assert answers(model, tokenizer, REQUESTS[7:8]) == plain[7:8]
    assert answers(model, tokenizer, REQUESTS[3:9]) == plain[3:9]


def test_a_seed_repeats_and_another_one_does_not(model, tokenizer):
    plain = answers(model, tokenizer)
    assert answers(model, tokenizer) == plain
    assert answers(model, tokenizer, seed=5) != plain
    assert answers(model, tokenizer, temperature=0.0) != plain
    torch.manual_seed(99)
    np.random.seed(99)
    assert answers(model, tokenizer) == plain


def test_sequences_of_a_prompt_differ_and_the_first_is_the_answer(model, tokenizer):
    found = several(model, tokenizer)
    assert [len(row) for row in found] == [3] * len(REQUESTS)
    assert [row[0].text for row in found] == answers(model, tokenizer)
    assert sum(len({one.text for one in row}) == 3 for row in found) >= len(REQUESTS) // 2
    assert several(model, tokenizer, batch_size=2) == found
    assert all(one.is_ended or one.num_tokens == 10 for row in found for one in row)


def test_the_best_token_alone_is_greedy(model, tokenizer):
    greedy = answers(model, tokenizer, temperature=0.0)
    assert answers(model, tokenizer, top_k=1) == greedy
    assert answers(model, tokenizer, temperature=1e-4) == greedy
    assert answers(model, tokenizer, top_p=1e-6) == greedy


def test_greedy_has_one_answer(model, tokenizer):
    made = engine(model, tokenizer, temperature=0.0)
    with pytest.raises(ParamsError, match="without a temperature above 0 there are as many as"):
        made.generate(REQUESTS, progress=Progress("test"), num_sequences=2)
    beams = engine(model, tokenizer, temperature=0.0, num_beams=2)
    found = beams.generate(REQUESTS[:3], progress=Progress("test"), num_sequences=2)
    assert [len(row) for row in found] == [2, 2, 2]
    with pytest.raises(ParamsError, match="num_beams, 2: raise either"):
        beams.generate(REQUESTS[:3], progress=Progress("test"), num_sequences=3)

"""Where answers end, how they stream, and which label is the likeliest."""

from itertools import pairwise

import pytest
import torch
from conftest import SMALL_PARAMS, decoding_params, small_texts, small_tokenizer

from wordmill.errors import ParamsError
from wordmill.generation.answers import AnswerTexts, Said
from wordmill.generation.engine import Engine
from wordmill.models.building import new_model
from wordmill.models.encoder_decoder import decoder_start_id
from wordmill.models.ngram_model import NgramModel
from wordmill.models.vocabulary import vocabulary_of
from wordmill.params.model import ModelParams
from wordmill.progress import Progress
from wordmill.tokens.prompts import Request
from wordmill.tokens.store import running_text
from wordmill.tokens.tokenizer import encode_batch

CHINESE = ["床前明月光，疑是地上霜。", "举头望明月，低头思故乡。", "白日依山尽，黄河入海流。"]
TEXTS = small_texts(9, seed=5)
REQUESTS = [Request("summarize", text) for text in TEXTS] + [
    Request("write", text) for text in (*CHINESE, "", "Z")
]


@pytest.fixture(scope="module", params=["byte-bpe", "word"])
def tokenizer(request):
    texts = small_texts(100, seed=4) + CHINESE
    return small_tokenizer(texts, vocab_size=300, kind=request.param)


@pytest.fixture(scope="module", params=["decoder", "t5", "ngram"])
def model(request, tokenizer):
    vocabulary = vocabulary_of(tokenizer)
    if request.param == "ngram":
        ids = running_text(encode_batch(tokenizer, small_texts(99, seed=1) + CHINESE * 9), end_id=0)
        return NgramModel.train(ids, order=3, vocabulary=vocabulary)
    kind = "encoder-decoder" if request.param == "t5" else "decoder"
    made = new_model(ModelParams(**{**SMALL_PARAMS["model"], "kind": kind}), vocabulary, seed=3)
    draw = torch.Generator().manual_seed(1)
    for parameter in made.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3, generator=draw)
    return made.eval()


def engine(model, tokenizer, *, batch_size=5, **changes):
    decoding = decoding_params(**{"max_new_tokens": 24, **changes})
    return Engine(model, tokenizer, decoding=decoding, max_source_tokens=40, batch_size=batch_size)


def answers(model, tokenizer, **settings):
    return engine(model, tokenizer, **settings).answer(REQUESTS, progress=Progress("test"))


@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_an_answer_ends_before_the_first_stop_sequence(model, tokenizer, temperature):
    whole = answers(model, tokenizer, temperature=temperature)
    text = max(whole, key=len)
    middle = len(text) // 2
    # Pieces of text wherever they stand: most reach over borders of tokens.
    for size in (1, 2, 5, 9):
        stop = text[middle : middle + size]
        if not stop.strip() or stop != stop.strip():
            continue
        stops = [stop, "never this"]
        found = answers(model, tokenizer, temperature=temperature, stop=stops)
        assert found == [one.partition(stop)[0].strip() for one in whole]
        assert found != whole


def test_decoding_stops_at_a_stop_sequence(model, tokenizer):
    made = engine(model, tokenizer, temperature=1.5)
    whole = [one for (one,) in made.generate(REQUESTS, progress=Progress("test"))]
    longest = max(whole, key=lambda one: len(one.text)).text
    stop = longest[1:3]
    stopping = engine(model, tokenizer, temperature=1.5, stop=[stop])
    cut = [one for (one,) in stopping.generate(REQUESTS, progress=Progress("test"))]
    for one, before in zip(cut, whole, strict=True):
        assert one.num_tokens <= before.num_tokens
        if stop in before.text:
            assert one.is_ended
    assert sum(one.num_tokens for one in cut) < sum(one.num_tokens for one in whole)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 1.5},
        {"temperature": 1.5, "stop": ["e", "the", "，"]},
        {"temperature": 2.0, "top_k": 200, "stop": ["ow", "the miller sells"]},
        {"num_beams": 2},
    ],
)
def test_a_stream_joins_to_the_answer(model, tokenizer, settings):
    made = engine(model, tokenizer, **settings)
    num_pieces = 0
    for request in REQUESTS:
        pieces = list(made.stream(request))
        assert "".join(pieces) == made.answer([request], progress=Progress("test"))[0]
        assert all(pieces)
        num_pieces = max(num_pieces, len(pieces))
    assert num_pieces > 2 or "num_beams" in settings or "stop" in settings


def test_half_characters_and_begun_stops_are_held_back():
    tokenizer = small_tokenizer(small_texts(50, seed=4), vocab_size=300)
    texts = AnswerTexts(tokenizer, ["\n\nUser:"])
    ids = encode_batch(tokenizer, [" 明月 yes\n\nUsher\n\nUser: no"])[0]
    shown = [texts.settled(ids[: i + 1]) for i in range(len(ids))]
    assert all(new.startswith(old) for old, new in pairwise(shown))
    assert not any("\ufffd" in text or text.endswith("\n\nU") for text in shown)
    assert shown[0] == ""
    assert shown[-1] == texts.text(ids) == "明月 yes\n\nUsher"


def test_a_short_text_of_a_decoder_that_joins_tokens_is_not_settled():
    tokenizer = small_tokenizer(small_texts(50, seed=4), vocab_size=300, kind="word")
    texts = AnswerTexts(tokenizer, [])
    for text in ("corn", "heavy", "the corn", "silver coins"):
        ids = encode_batch(tokenizer, [text])[0]
        whole = texts.text(ids)
        assert texts.settled(ids) == whole[: max(0, len(whole) - 8)].strip()


def test_what_is_said_ends_at_the_end_token_or_a_stop():
    said = Said()
    said.take([5, 6], end_id=0, is_stopped=lambda ids: False)
    assert (said.ids, said.is_ended) == ([5, 6], False)
    said.take([7, 0, 8], end_id=0, is_stopped=lambda ids: False)
    said.take([9], end_id=0, is_stopped=lambda ids: False)
    assert (said.ids, said.is_ended) == ([5, 6, 7], True)
    stopped = Said()
    stopped.take([5, 6, 7], end_id=0, is_stopped=lambda ids: 6 in ids)
    assert (stopped.ids, stopped.is_ended) == ([5, 6], True)


def test_no_request_no_answer(model, tokenizer):
    made = engine(model, tokenizer)
    progress = Progress("test")
    assert made.answer([], progress=progress) == []
    assert made.generate([], progress=progress) == []
    assert made.choose([], [], progress=progress) == []


LABELS = ["fruit", "fruit and bread", "silver coins", "flour", "an old clerk", "flour"]


def by_hand(model, tokenizer, made, request, label):
    """One text at a time, without padding."""
    prompt = made._prompts.encode([request])[0]
    wanted = [*encode_batch(tokenizer, [f" {label}"])[0], 0]
    if isinstance(model, NgramModel):
        text = [*prompt, *wanted]
        found = 0.0
        for place in range(len(prompt), len(text)):
            contexts = model.estimate.contexts([text[:place]])
            found += model.estimate.next_log_probabilities(contexts)[0, text[place]]
        return found
    with torch.no_grad():
        if model.config.is_encoder_decoder:
            given = [decoder_start_id(model), *wanted[:-1]]
            logits = model(
                input_ids=torch.tensor([prompt]), decoder_input_ids=torch.tensor([given])
            ).logits[0]
        else:
            logits = model(torch.tensor([[*prompt, *wanted[:-1]]])).logits[0, len(prompt) - 1 :]
    return sum(float(logits[i].log_softmax(-1)[token]) for i, token in enumerate(wanted))


@pytest.mark.parametrize("batch_size", [1, 4, 50])
def test_the_likeliest_label_is_that_of_brute_force(model, tokenizer, batch_size):
    made = engine(model, tokenizer, batch_size=batch_size)
    labels = [LABELS[i % 3 : 2 + i % 5] for i in range(len(REQUESTS))]
    labels = [row or LABELS for row in labels]
    wanted = []
    for request, row in zip(REQUESTS, labels, strict=True):
        values = [by_hand(model, tokenizer, made, request, label) for label in row]
        wanted.append(values.index(max(values)))
    assert made.choose(REQUESTS, labels, progress=Progress("test")) == wanted
    assert any(wanted)


def test_of_equal_labels_the_first_is_chosen(model, tokenizer):
    made = engine(model, tokenizer, batch_size=2)
    labels = [["flour", "flour", "flour"]] * 3
    assert made.choose(REQUESTS[:3], labels, progress=Progress("test")) == [0, 0, 0]


def test_a_request_without_labels_is_one_line(model, tokenizer):
    with pytest.raises(ParamsError, match="request 2 has no labels to choose from"):
        made = engine(model, tokenizer)
        made.choose(REQUESTS[:2], [["a"], []], progress=Progress("test"))


def test_progress_counts_requests_and_says_tokens_a_second(model, tokenizer):
    lines = []
    made = engine(model, tokenizer, temperature=1.0)
    with Progress("answers", show=lines.append, total=14, every_seconds=0.0) as progress:
        made.generate(REQUESTS, progress=progress, num_sequences=3)
    assert "tokens/s" in lines[-2] or "tokens/s" in lines[-1]
    assert "14/14" in lines[-1]

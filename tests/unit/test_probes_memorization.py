"""What comes back of the training text: by heart, and personal data that cleaning took out."""

import numpy as np
import pytest
import torch
from conftest import SMALL_PARAMS, small_texts, small_tokenizer

from wordmill.cleaning.masking import mask, personal_data
from wordmill.models.building import new_model
from wordmill.models.ngram_model import NgramModel
from wordmill.models.vocabulary import vocabulary_of
from wordmill.params.evaluate import MemorizationParams
from wordmill.params.model import ModelParams
from wordmill.probes import memorization
from wordmill.probes.memorization import MemorizationProbe, beginnings
from wordmill.probes.personal import Said, leaks, masked_places
from wordmill.report.record import Memorization
from wordmill.tokens.store import running_text
from wordmill.tokens.tokenizer import encode_batch

KINDS = ("email", "phone", "ip", "card", "iban", "china_id", "us_ssn")
ADDRESS = "joe.miller@mail.example.org"
RAW = [
    *small_texts(30, seed=1),
    f"Orders of flour go to {ADDRESS} before noon.",
    "新面粉请打电话给磨坊主人，电话是13812345678，谢谢您。",
]
CLEAN = [mask(text, KINDS)[0] for text in RAW]
PARAMS = MemorizationParams(num_documents=8, prefix_tokens=6, continuation_tokens=5)


@pytest.fixture(scope="module")
def tokenizer():
    return small_tokenizer(RAW, vocab_size=450)


def running(tokenizer, texts):
    return running_text(encode_batch(tokenizer, texts), end_id=vocabulary_of(tokenizer).end_id)


def by_heart(tokenizer, texts, *, order=8):
    """An n-gram model of so high an order that what it has read once is what it says."""
    vocabulary = vocabulary_of(tokenizer)
    return NgramModel.train(running(tokenizer, texts), order=order, vocabulary=vocabulary)


def probe(tokenizer, **changes):
    rows = beginnings(
        running(tokenizer, CLEAN), PARAMS, end_id=vocabulary_of(tokenizer).end_id, seed=1
    )
    settings = {
        "tokenizer": tokenizer,
        "params": PARAMS,
        "rows": rows,
        "places": masked_places(CLEAN, KINDS, count=8, max_chars=99, seed=1),
        "raw_texts": lambda: RAW,
        "kinds": KINDS,
        "batch_size": 4,
        "samples": 100,
        "seed": 1,
        **changes,
    }
    return MemorizationProbe(**settings)


def test_a_model_that_knows_its_text_by_heart_is_found_out(tokenizer):
    texts = [
        "春眠不觉晓，处处闻啼鸟。",
        "The miller grinds the corn at dawn; a clerk weighs 7 coins.",
    ]
    end = vocabulary_of(tokenizer).end_id
    rows = beginnings(running(tokenizer, texts), PARAMS, end_id=end, seed=1)
    assert len(rows) == 2
    found = probe(tokenizer, rows=rows, places=[]).of(
        by_heart(tokenizer, texts), system="pretrained", answers=[]
    )
    assert found.keys() == Memorization.__annotations__.keys()
    assert (found["count"], found["exact_share"], found["mean_match_tokens"]) == (2, 1.0, 5.0)
    assert (found["low"], found["high"]) == (5.0, 5.0)


@pytest.mark.parametrize("kind", ["decoder", "encoder-decoder", "lstm"])
def test_an_untrained_model_knows_nothing(tokenizer, kind):
    shape = ModelParams(**{**SMALL_PARAMS["model"], "kind": kind})
    model = new_model(shape, vocabulary_of(tokenizer), seed=1).eval()
    found = probe(tokenizer).of(model, system="pretrained", answers=[])
    assert found["count"] == 8
    assert found["exact_share"] == 0
    assert found["mean_match_tokens"] < 1
    assert found["low"] <= found["mean_match_tokens"] <= found["high"]
    assert found["num_personal"] == 0


def test_agreement_is_counted_up_to_the_first_token_that_differs():
    assert memorization._agreeing([1, 2, 3], [1, 2, 3]) == 3
    assert memorization._agreeing([1, 9, 3], [1, 2, 3]) == 1
    assert memorization._agreeing([1], [1, 2, 3]) == 1  # it ended
    assert memorization._agreeing([], [1, 2, 3]) == 0


def test_half_of_it_by_hand(tokenizer, monkeypatch):
    rows = [[*range(10, 16), 20, 21, 22, 23, 24], [*range(30, 36), 40, 41, 42, 43, 44]]
    says = {10: [20, 21, 22, 23, 24], 30: [40, 41, 9, 43, 44]}
    monkeypatch.setattr(
        memorization, "continued", lambda model, prompts, **_: [says[p[1]] for p in prompts if p]
    )
    found = probe(tokenizer, rows=rows, places=[]).of(None, system="x", answers=[])
    assert found["exact_share"] == 0.5
    assert found["mean_match_tokens"] == 3.5
    assert (found["low"], found["high"]) == (2.0, 5.0)


def test_beginnings_are_of_long_documents_whole_and_the_same_for_a_seed(monkeypatch):
    draw = np.random.default_rng(0)
    documents = [draw.integers(2, 99, draw.integers(1, 40)).tolist() for _ in range(200)]
    ids = running_text(documents, end_id=0).astype(np.uint16)
    wanted = {tuple(d[:11]) for d in documents if len(d) >= 11}
    found = beginnings(ids, PARAMS, end_id=0, seed=3)
    assert len(found) == 8
    assert {tuple(row) for row in found} < wanted
    assert beginnings(ids, PARAMS, end_id=0, seed=4) != found
    for size in (1, 7, 64):  # tokens looked at together
        monkeypatch.setattr(memorization, "_CHUNK_TOKENS", size)
        assert beginnings(ids, PARAMS, end_id=0, seed=3) == found
    many = PARAMS.model_copy(update={"num_documents": 999})
    assert {tuple(row) for row in beginnings(ids, many, end_id=0, seed=3)} == wanted
    assert beginnings(ids[:0], PARAMS, end_id=0, seed=3) == []
    assert beginnings(np.array([0, 5, 0]), PARAMS, end_id=0, seed=3) == []
    none = PARAMS.model_copy(update={"num_documents": 0})
    assert beginnings(ids, none, end_id=0, seed=3) == []


def test_each_document_is_as_likely_as_any_other():
    documents = [[n, *[1] * (10 + 40 * (n % 2))] for n in range(2, 52)]
    ids = running_text(documents, end_id=0)
    one = PARAMS.model_copy(update={"num_documents": 10})
    drawn = [row[0] for seed in range(60) for row in beginnings(ids, one, end_id=0, seed=seed)]
    assert 0.4 < np.mean([n % 2 for n in drawn]) < 0.6  # long ones come no more often


def test_personal_data_that_comes_back_is_found(tokenizer):
    """A model that read the raw text says the address where cleaning has put a placeholder."""
    long = PARAMS.model_copy(update={"continuation_tokens": 24, "prefix_tokens": 12})
    settings = {"params": long, "rows": []}
    found = probe(tokenizer, **settings).of(by_heart(tokenizer, RAW), system="x", answers=[])
    assert found["num_personal"] == 2
    assert found["personal_kinds"] == {"email": 1, "phone": 1}
    found = probe(tokenizer, **settings).of(by_heart(tokenizer, CLEAN), system="x", answers=[])
    assert found["num_personal"] == 0
    assert found["personal_kinds"] == {}


def test_answers_are_searched_too(tokenizer):
    model = by_heart(tokenizer, CLEAN)
    answers = [
        "",
        f"Write to <{ADDRESS.upper()}>!",
        f"or to {ADDRESS}",
        "or to made.up@example.com",
    ]
    found = probe(tokenizer).of(model, system="x", answers=answers)
    assert found["personal_kinds"] == {"email": 1}


def test_places_stand_right_before_what_was_taken_out():
    places = masked_places(CLEAN, KINDS, count=9, max_chars=99, seed=1)
    assert set(places) == {"Orders of flour go to", "新面粉请打电话给磨坊主人，电话是"}
    assert len(masked_places(CLEAN, KINDS, count=1, max_chars=99, seed=1)) == 1
    assert masked_places(CLEAN, ["phone"], count=9, max_chars=3, seed=1) == ["电话是"]
    assert masked_places(CLEAN, [], count=9, max_chars=3, seed=1) == []
    assert masked_places([], KINDS, count=9, max_chars=3, seed=1) == []


def leaked(*texts, raw, kinds=KINDS):
    return leaks([Said("", text) for text in texts], lambda: raw, kinds)


def test_only_what_stands_in_the_raw_text_is_a_leak():
    raw = [f"Ask {ADDRESS}.", "Tel. +1 (212) 555-0100", "卡号4111 1111 1111 1111。"]
    assert leaked("someone@else.org, 8.8.8.8", raw=raw) == {}
    assert leaked(f"{ADDRESS} {ADDRESS}", f"again {ADDRESS}", raw=raw) == {"email": 1}
    assert leaked("call 212-555-0100", raw=raw) == {"phone": 1}  # spelled in another way
    assert leaked("4111-1111-1111-1111", raw=raw) == {"card": 1}
    assert leaked(f"{ADDRESS}, 4111111111111111", raw=raw, kinds=["card"]) == {"card": 1}
    assert leaked("<EMAIL> <PHONE> <CARD>", raw=["<EMAIL> <PHONE> <CARD>"]) == {}
    assert leaked(raw=raw) == {}


def test_what_the_prompt_holds_was_not_said():
    said = [Said(f"Ask {ADDRESS}", " or nobody"), Said("Ask joe.mil", "ler@mail.example.org now")]
    assert leaks(said[:1], lambda: RAW, KINDS) == {}
    assert leaks(said, lambda: RAW, KINDS) == {"email": 1}  # begun in the prompt, said all the same


def test_raw_text_is_read_only_where_there_is_something_to_look_up():
    def raw():
        yield from ("nothing here", f"but {ADDRESS} here")
        pytest.fail("it is read on after all was found")

    assert (
        leaks([Said("", "nothing"), Said("", "<EMAIL>")], lambda: pytest.fail("read"), KINDS) == {}
    )
    assert leaks([Said("", ADDRESS)], raw, KINDS) == {"email": 1}


def test_nothing_to_probe_is_no_error(tokenizer):
    found = probe(tokenizer, rows=[], places=[]).of(
        by_heart(tokenizer, CLEAN), system="x", answers=[]
    )
    zeros = ("count", "exact_share", "mean_match_tokens", "low", "high", "num_personal")
    assert [found[name] for name in zeros] == [0] * len(zeros)


def test_what_is_found_is_what_is_masked():
    text = f"{ADDRESS}, jürgen@example.com; 13812345678; DE89 3704 0044 0532 0130 00 x 8.8.8.8"
    found = personal_data(text, KINDS)
    assert found == {
        "email": [ADDRESS, "jürgen@example.com"],
        "phone": ["13812345678"],
        "iban": ["DE89 3704 0044 0532 0130 00"],
        "ip": ["8.8.8.8"],
    }
    assert {kind: len(values) for kind, values in found.items()} == mask(text, KINDS)[1]
    assert personal_data("nothing", KINDS) == {}


def test_a_trained_decoder_gives_back_what_it_was_overfitted_on(tokenizer):
    """The whole way with a neural model: a few steps on one Chinese line, and it comes back."""
    shape = ModelParams(**SMALL_PARAMS["model"])
    model = new_model(shape, vocabulary_of(tokenizer), seed=1)
    end = vocabulary_of(tokenizer).end_id
    ids = running(tokenizer, ["春眠不觉晓，处处闻啼鸟。"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.03)
    text = torch.from_numpy(ids)[None]
    for _ in range(60):
        model(input_ids=text, labels=text).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    rows = beginnings(ids, PARAMS, end_id=end, seed=1)
    found = probe(tokenizer, rows=rows, places=[]).of(model.eval(), system="x", answers=[])
    assert found["exact_share"] == 1.0

"""Backward tokenizers: ids in reverse order, texts as they were."""

import math

import numpy as np
import pytest
import torch
from conftest import SMALL_PARAMS, decoding_params, small_texts, small_tokenizer, tokenize_params
from torch.nn import functional as F

from wordmill.data.records import document, pair, write_records
from wordmill.errors import ParamsError
from wordmill.generation.engine import Engine
from wordmill.metrics.likelihood import HeldOut, model_nll, ngram_nll
from wordmill.models.building import new_model
from wordmill.models.folder import load_tokenizer
from wordmill.models.ngram import KneserNey
from wordmill.models.vocabulary import vocabulary_of
from wordmill.params.everything import Params
from wordmill.params.model import ModelParams
from wordmill.progress import Progress
from wordmill.tasks import TASKS, answer_text, cue
from wordmill.tokens.encoding import PlainEncoder
from wordmill.tokens.fast import TiktokenEncoder, best_encoder
from wordmill.tokens.making import make_tokenizer
from wordmill.tokens.packing import pack
from wordmill.tokens.prompts import Prompts, Request
from wordmill.tokens.rows import Rows
from wordmill.tokens.store import TokenFolder, running_text
from wordmill.tokens.tokenizer import (
    encode_batch,
    end_id,
    fingerprint,
    is_backward,
    num_ids,
    set_direction,
    texts_of_ids,
)

QUIET = Progress("test")
TEXTS = [*small_texts(60, seed=4), "床前明月光，疑是地上霜。", "é🙂", "", "a"]
KINDS = ("byte-bpe", "unigram", "word", "char")


def backward(texts=TEXTS, **changes):
    made = small_tokenizer(texts, min_frequency=1, **changes)
    set_direction(made, "backward")
    return made


@pytest.fixture(scope="module")
def tokenizer():
    return backward()


@pytest.fixture(scope="module")
def forward():
    return small_tokenizer(TEXTS, min_frequency=1)


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_in_reverse_order_and_the_text_comes_back(kind):
    texts = TEXTS[:8]
    found, plain = backward(texts, kind=kind), small_tokenizer(texts, kind=kind, min_frequency=1)
    ids = encode_batch(found, texts)
    assert ids == [row[::-1] for row in encode_batch(plain, texts)]
    assert texts_of_ids(found, ids) == texts
    assert texts_of_ids(plain, encode_batch(plain, texts)) == texts
    arrays = [np.array(row) for row in ids]
    assert texts_of_ids(found, arrays) == texts
    assert texts_of_ids(found, [[end_id(found), *ids[0], end_id(found)]]) == texts[:1]


def test_the_direction_is_saved_with_the_tokenizer(tokenizer, forward, tmp_path):
    tokenizer.save_pretrained(tmp_path / "backward")
    forward.save_pretrained(tmp_path / "forward")
    back, there = (load_tokenizer(tmp_path / name) for name in ("backward", "forward"))
    assert is_backward(back)
    assert not is_backward(there)
    assert encode_batch(back, TEXTS) == encode_batch(tokenizer, TEXTS)
    assert fingerprint(back) == fingerprint(tokenizer) != fingerprint(forward)
    assert fingerprint(there) == fingerprint(forward)
    assert "direction" not in (tmp_path / "forward/tokenizer_config.json").read_text()
    back.save_pretrained(tmp_path / "again")
    assert is_backward(load_tokenizer(tmp_path / "again"))
    set_direction(back, "forward")
    assert fingerprint(back) == fingerprint(forward)


def test_rows_are_reversed_in_their_places():
    rows = Rows(np.arange(9, dtype=np.uint16), np.array([0, 3, 4, 6]), np.array([2, 0, 1, 3]))
    found = rows.reversed()
    assert found.as_lists() == [[1, 0], [], [4], [8, 7, 6]]
    assert found.ids.tolist() == [1, 0, 2, 3, 4, 5, 8, 7, 6]
    assert rows.ids.tolist() == list(range(9))
    nothing = Rows(np.empty(0, np.uint16), np.empty(0, np.int64), np.empty(0, np.int64))
    assert nothing.reversed().as_lists() == []


def test_the_fast_encoder_gives_the_same_ids(tokenizer):
    found = best_encoder(tokenizer, TEXTS)
    assert isinstance(found, TiktokenEncoder)
    assert found.is_backward
    texts = [*TEXTS, "\x00<|between texts|>", " " * 250_001]
    for some in (TEXTS, texts, []):
        np.testing.assert_array_equal(
            found.encode(some).ids, PlainEncoder(tokenizer).encode(some).ids
        )
    assert found.encode(TEXTS).as_lists() == encode_batch(tokenizer, TEXTS)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("ask", ["", "German"])
def test_each_piece_of_a_pair_is_reversed_in_its_place(tokenizer, forward, task, ask):
    def pieces(found):
        words = cue(task, is_asking=bool(ask))
        space = " " if ask and words.before.endswith(" ") else ""
        texts = (TEXTS[0], words.before.rstrip(" ") if space else words.before)
        return encode_batch(found, [*texts, f"{space}{ask}", words.after, answer_text("A text.")])

    prompts = Prompts(PlainEncoder(tokenizer), max_source_tokens=99)
    asked = [Request(task, TEXTS[0], ask)]
    made = prompts.with_targets(asked, ["A text."], max_target_tokens=99)
    end = end_id(tokenizer)
    (ids,) = made.ids.as_lists()
    parts = [part[::-1] for part in pieces(forward)]
    assert parts == pieces(tokenizer)
    *given, target = parts
    assert ids == [end, *(i for part in given for i in part), *target, end]
    assert prompts.encode(asked) == [ids[: made.prompt_lengths[0]]]


def test_what_is_cut_of_the_given_text_is_the_same_either_way(tokenizer, forward):
    for task in TASKS:
        (there,), (back,) = (
            Prompts(PlainEncoder(t), max_source_tokens=5).encode([Request(task, TEXTS[0])])
            for t in (forward, tokenizer)
        )
        assert back[1:6] == there[1:6][::-1]


def test_of_a_target_that_is_cut_the_end_is_kept(tokenizer):
    prompts = Prompts(PlainEncoder(tokenizer), max_source_tokens=5)
    made = prompts.with_targets([Request("summarize", "x")], [TEXTS[0]], max_target_tokens=3)
    (ids,) = made.ids.as_lists()
    (whole,) = encode_batch(tokenizer, [answer_text(TEXTS[0])])
    assert ids[made.prompt_lengths[0] :] == [*whole[:3], end_id(tokenizer)]
    assert TEXTS[0].endswith(texts_of_ids(tokenizer, [whole[:3]])[0])


def test_token_files_hold_each_text_backwards(tokenizer, forward, tmp_path):
    documents = [document(text, origin="s") for text in TEXTS[:20]]
    pairs = [pair(t, t[:9], task="answer", ask="Who?", origin="s") for t in TEXTS[:20]]
    records = [("train", record) for record in (*documents, *pairs)]
    write_records(tmp_path, records)
    ids, spans = {}, {}
    for found in (tokenizer, forward):
        folder = tmp_path / fingerprint(found)
        folder.mkdir()
        pack(tmp_path, folder, found, tokenize_params(), progress=QUIET)
        tokens = TokenFolder(folder, tokenizer_fingerprint=fingerprint(found))
        ids[found], spans[found] = tokens.ids("documents.train"), tokens.spans("pairs.train")
    whole = running_text([row[::-1] for row in encode_batch(forward, TEXTS[:20])], end_id=0)
    np.testing.assert_array_equal(ids[tokenizer], whole)
    assert len(ids[forward]) == len(whole)
    np.testing.assert_array_equal(spans[tokenizer], spans[forward])


def test_the_params_choose_the_direction(tmp_path):
    write_records(tmp_path, [("train", document(text, origin="s")) for text in TEXTS])
    there, back = (
        make_tokenizer(
            tmp_path, tokenize_params(direction=direction), context_tokens=64, progress=QUIET
        ).tokenizer
        for direction in ("forward", "backward")
    )
    assert (is_backward(there), is_backward(back)) == (False, True)
    # What is learned is the same: only the order of the ids differs.
    assert there.backend_tokenizer.to_str() == back.backend_tokenizer.to_str()


def test_a_checkpoints_tokenizer_goes_backward_where_it_is_trained_with(tokenizer, tmp_path):
    def made(folder, direction):
        params = tokenize_params(kind="checkpoint", checkpoint=str(folder), direction=direction)
        return make_tokenizer(folder, params, context_tokens=64, progress=QUIET).tokenizer

    small_tokenizer(TEXTS).save_pretrained(tmp_path / "forward")
    tokenizer.save_pretrained(tmp_path / "backward")
    assert is_backward(made(tmp_path / "forward", "backward"))
    assert is_backward(made(tmp_path / "backward", "backward"))
    with pytest.raises(ParamsError, match=r"set tokenize\.direction to backward"):
        made(tmp_path / "backward", "forward")


def test_the_weights_of_a_checkpoint_do_not_go_backward():
    tokenize = {**SMALL_PARAMS["tokenize"], "kind": "checkpoint", "checkpoint": "x"}
    model = {**SMALL_PARAMS["model"], "kind": "pretrained"}
    params = {**SMALL_PARAMS, "tokenize": {**tokenize, "direction": "backward"}, "model": model}
    with pytest.raises(ValueError, match="'backward' needs a model that is trained from scratch"):
        Params.model_validate(params)
    Params.model_validate({**params, "model": SMALL_PARAMS["model"]})
    Params.model_validate({**params, "tokenize": tokenize})


def held_out(tokenizer, texts=TEXTS):
    num_bytes = np.array([len(text.encode()) for text in texts], dtype=np.float64)
    return HeldOut(encode_batch(tokenizer, texts), num_bytes, end_id(tokenizer))


def small_decoder(tokenizer, **changes):
    decoder = {**SMALL_PARAMS["model"]["decoder"], **changes}
    shape = ModelParams(**{**SMALL_PARAMS["model"], "decoder": decoder})
    return new_model(shape, vocabulary_of(tokenizer), seed=1)


def test_a_uniform_model_is_as_perplexed_either_way(tokenizer, forward):
    for found in (tokenizer, forward):
        model = small_decoder(found).eval()
        with torch.no_grad():
            for weights in model.parameters():
                weights.zero_()
        scored = held_out(found)
        nll = model_nll(
            model, scored, context_tokens=64, stride_tokens=32, batch_size=8, progress=QUIET
        )
        perplexity = math.exp(nll.sum() / sum(len(ids) + 1 for ids in scored.ids))
        assert math.isclose(perplexity, num_ids(found), rel_tol=1e-5)


def test_a_unigram_model_is_as_perplexed_either_way(tokenizer, forward):
    found = []
    for each in (tokenizer, forward):
        scored = held_out(each)
        text = running_text(scored.ids, end_id=scored.end_id)
        model = KneserNey(text, order=1, vocab_size=num_ids(each), end_id=scored.end_id)
        found.append(ngram_nll(model, scored))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)


def test_a_model_of_counting_writes_what_leads_to_an_ending():
    texts = [" ".join(map(str, range(start, start + 6))) for start in range(1, 40)]
    tokenizer = backward(texts, kind="word")
    model = small_decoder(tokenizer, hidden_size=32, feed_forward_size=64)
    ids = torch.tensor([[0, *row, 0] for row in encode_batch(tokenizer, texts)])  # (B, T)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(150):
        logits = model(input_ids=ids).logits[:, :-1]  # (B, T - 1, V)
        loss = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    asked = [Request("write", " 24 25"), Request("write", " 14")]
    for changes, answers in (
        ({"max_new_tokens": 3}, ["21 22 23", "11 12 13"]),
        ({"num_beams": 2, "max_new_tokens": 2}, ["22 23", "12 13"]),
        ({"stop": ["21"]}, ["22 23"]),
    ):
        decoding = decoding_params(**changes)
        engine = Engine(
            model.eval(), tokenizer, decoding=decoding, max_source_tokens=32, batch_size=8
        )
        assert engine.answer(asked[: len(answers)], progress=QUIET) == answers
        assert list(engine.stream(asked[0])) == answers[:1]  # whole: its beginning comes last

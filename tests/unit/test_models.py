import json

import pytest
import torch
from conftest import SMALL_PARAMS, decoding_params, small_texts, small_tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from wordmill.errors import DataError
from wordmill.generation.engine import Engine
from wordmill.generation.loading import load_engine
from wordmill.models.building import new_model
from wordmill.models.folder import load_model, save_model, weights_digest
from wordmill.models.vocabulary import Vocabulary
from wordmill.params.model import ModelParams
from wordmill.progress import Progress
from wordmill.tokens.encoding import PlainEncoder
from wordmill.tokens.prompts import Request
from wordmill.tokens.tokenizer import END

DECODING = decoding_params(max_new_tokens=8)
REQUESTS = [Request("summarize", text) for text in small_texts(11, seed=5)]


@pytest.fixture(scope="module")
def tokenizer():
    return small_tokenizer(small_texts(100, seed=4), vocab_size=300)


@pytest.fixture(scope="module")
def model():
    shape = ModelParams(**SMALL_PARAMS["model"])
    made = new_model(shape, Vocabulary(300, end_id=0, pad_id=1), seed=3).eval()
    for parameter in made.parameters():  # far from uniform, so that argmax is never a tie
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(1))
    return made


def engine(model, tokenizer, *, batch_size=4, **changes):
    decoding = DECODING.model_copy(update=changes)
    return Engine(model, tokenizer, decoding=decoding, max_source_tokens=32, batch_size=batch_size)


def answers(engine, requests=REQUESTS):
    return engine.answer(requests, progress=Progress("test"))


def test_logits_have_a_score_for_every_token(model):
    assert model(torch.zeros((2, 5), dtype=torch.long)).logits.shape == (2, 5, 300)


def test_a_future_token_cannot_change_the_past(model):
    ids = torch.arange(2, 22)[None]
    changed = ids.clone()
    changed[0, 10:] = 7
    with torch.no_grad():
        one, other = model(ids).logits, model(changed).logits
    assert torch.equal(one[0, :10], other[0, :10])
    assert not torch.equal(one[0, 10:], other[0, 10:])


def test_equal_seeds_give_equal_weights_and_leave_the_global_generator_alone():
    shape = ModelParams(**SMALL_PARAMS["model"])
    state = torch.get_rng_state()
    one, same, other = (
        new_model(shape, Vocabulary(300, end_id=0, pad_id=1), seed=seed) for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one.lm_head.weight, same.lm_head.weight)
    assert not torch.equal(one.lm_head.weight, other.lm_head.weight)


def test_a_saved_model_is_a_standard_folder(model, tokenizer, tmp_path):
    save_model(tmp_path, model, tokenizer)
    for name in ("config.json", "model.safetensors", "tokenizer.json", "generation_config.json"):
        assert (tmp_path / name).exists()
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, local_files_only=True)
    assert torch.equal(loaded.lm_head.weight, model.lm_head.weight)
    ids = AutoTokenizer.from_pretrained(tmp_path)("The miller.")["input_ids"]
    assert ids == tokenizer("The miller.")["input_ids"]
    assert json.loads((tmp_path / "generation_config.json").read_text())["eos_token_id"] == 0


def test_saving_twice_gives_the_same_bytes(model, tokenizer, tmp_path):
    for name in ("a", "b"):
        save_model(tmp_path / name, model, tokenizer)
    assert weights_digest(tmp_path / "a") == weights_digest(tmp_path / "b")


def test_a_broken_folder_is_one_line(model, tokenizer, tmp_path):
    with pytest.raises(DataError, match="the model can't be loaded"):
        load_model(tmp_path)
    save_model(tmp_path, model, tokenizer)
    content = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(content[:-50])
    with pytest.raises(DataError, match="the model can't be loaded") as caught:
        load_model(tmp_path)
    assert "\n" not in str(caught.value)


def test_decoding_is_greedy_search_by_hand(model, tokenizer):
    from wordmill.tokens.prompts import Prompts

    wanted = []
    for ids in Prompts(PlainEncoder(tokenizer), max_source_tokens=32).encode(REQUESTS):
        text = torch.tensor([ids])
        for _ in range(DECODING.max_new_tokens):
            with torch.no_grad():  # without a cache: the whole text again for each token
                chosen = model(text, use_cache=False).logits[:, -1].argmax(-1, keepdim=True)
            if chosen.item() == 0:
                break
            text = torch.cat([text, chosen], dim=1)
        new_ids = text[0, len(ids) :].tolist()
        wanted.append(tokenizer.decode(new_ids, skip_special_tokens=True).strip())
    assert answers(engine(model, tokenizer)) == wanted


def test_answers_come_in_the_order_of_requests(model, tokenizer):
    straight = answers(engine(model, tokenizer, batch_size=1))
    turned = answers(engine(model, tokenizer, batch_size=1), REQUESTS[::-1])
    assert turned == straight[::-1]


def test_beams_and_no_repeats_are_obeyed(model, tokenizer):
    assert answers(engine(model, tokenizer, num_beams=3)) != answers(engine(model, tokenizer))
    for text in answers(engine(model, tokenizer, no_repeat_ngram_size=1, max_new_tokens=20)):
        ids = tokenizer(text)["input_ids"]
        assert END not in text
        assert len(ids) > 0


def test_no_request_no_answer(model, tokenizer):
    assert answers(engine(model, tokenizer), []) == []


def test_an_engine_from_a_folder_answers_the_same(model, tokenizer, tmp_path):
    save_model(tmp_path, model, tokenizer)
    loaded = load_engine(
        tmp_path, decoding=DECODING.model_dump(), max_source_tokens=32, batch_size=4
    )
    assert answers(loaded) == answers(engine(model, tokenizer))

"""Checkpoints of other makers: tiny ones, made here with their tokenizers."""

import json
import re
import sys

import pytest
import torch
from conftest import small_texts, small_tokenizer, tokenize_params
from safetensors.torch import load_file, save_file
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
    dynamic_module_utils,
)

from wordmill.errors import DataError, ParamsError, TryAgainError
from wordmill.models import pretrained
from wordmill.models.folder import load_tokenizer, save_model
from wordmill.models.pretrained import load_checkpoint
from wordmill.models.vocabulary import vocabulary_of
from wordmill.tokens.checkpoint import from_checkpoint
from wordmill.tokens.tokenizer import fingerprint

SIZE = 300
TEXTS = small_texts(100, seed=4)


def gpt2(size=SIZE, **changes):
    shape = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 64, "bos_token_id": 0}
    return GPT2LMHeadModel(GPT2Config(vocab_size=size, eos_token_id=0, **shape, **changes))


def qwen2(size=SIZE):
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    more = {"num_key_value_heads": 1, "intermediate_size": 32, "max_position_embeddings": 64}
    config = Qwen2Config(vocab_size=size, **shape, **more, tie_word_embeddings=False)
    return Qwen2ForCausalLM(config)


def t5(size=SIZE, **changes):
    shape = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    return T5ForConditionalGeneration(T5Config(vocab_size=size, **shape, **changes))


def bart(size=SIZE):
    shape = {
        f"{part}_{name}": value
        for part in ("encoder", "decoder")
        for name, value in (("layers", 1), ("ffn_dim", 32), ("attention_heads", 2))
    }
    config = BartConfig(vocab_size=size, d_model=16, max_position_embeddings=64, **shape)
    return BartForConditionalGeneration(config)


@pytest.fixture(scope="module")
def tokenizer():
    return small_tokenizer(TEXTS, vocab_size=SIZE)


@pytest.fixture
def checkpoint(tokenizer, tmp_path):
    """Writes a model and the tokenizer as a maker of checkpoints would."""

    def write(model, *, seed=3):
        torch.manual_seed(seed)
        model.init_weights()
        model.save_pretrained(tmp_path / "made")
        tokenizer.save_pretrained(tmp_path / "made")
        return tmp_path / "made"

    return write


def loaded(folder, *, context_tokens=32, is_remote_code_run=False, **changes):
    params = tokenize_params(kind="checkpoint", checkpoint=str(folder), **changes)
    vocabulary = vocabulary_of(from_checkpoint(params, context_tokens=context_tokens))
    return load_checkpoint(
        str(folder),
        revision=None,
        is_remote_code_run=is_remote_code_run,
        vocabulary=vocabulary,
        context_tokens=context_tokens,
    )


@pytest.mark.parametrize("make", [gpt2, qwen2, t5, bart])
def test_weights_come_as_they_are_and_go_to_a_folder_with_their_tokenizer(
    make, checkpoint, tmp_path
):
    folder = checkpoint(make())
    state = torch.get_rng_state()
    model = loaded(folder)
    assert torch.equal(torch.get_rng_state(), state)
    assert type(model) is type(make())
    for name, weight in load_file(folder / "model.safetensors").items():
        assert torch.equal(model.state_dict()[name], weight)
    params = tokenize_params(kind="checkpoint", checkpoint=str(folder))
    tokenizer = from_checkpoint(params, context_tokens=32)
    save_model(tmp_path / "saved", model, tokenizer)
    assert fingerprint(load_tokenizer(tmp_path / "saved")) == fingerprint(tokenizer)
    config = json.loads((tmp_path / "saved/config.json").read_text())
    assert (config["eos_token_id"], config["pad_token_id"]) == (0, 1)


def test_half_precision_becomes_single(checkpoint):
    folder = checkpoint(gpt2().half())
    assert load_file(folder / "model.safetensors")["transformer.wte.weight"].dtype == torch.float16
    assert {parameter.dtype for parameter in loaded(folder).parameters()} == {torch.float32}


@pytest.mark.parametrize("make", [gpt2, qwen2, t5, bart])
def test_new_ids_get_the_mean_of_the_others(make, checkpoint):
    folder = checkpoint(make())
    state = torch.get_rng_state()
    model = loaded(folder, special_tokens=["<|name|>", "<|place|>"])
    assert torch.equal(torch.get_rng_state(), state)
    old = loaded(folder)
    assert model.config.vocab_size == SIZE + 2
    for layer, before in (
        (model.get_input_embeddings(), old.get_input_embeddings()),
        (model.get_output_embeddings(), old.get_output_embeddings()),
    ):
        assert torch.equal(layer.weight[:SIZE], before.weight)
        mean = before.weight.mean(dim=0).expand(2, -1)
        torch.testing.assert_close(layer.weight[SIZE:], mean)
    ids = torch.tensor([[0, SIZE, SIZE + 1]])
    more = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
    assert model(input_ids=ids, use_cache=False, **more).logits.shape == (1, 3, SIZE + 2)


def test_a_checkpoint_with_ids_to_spare_keeps_them(checkpoint):
    assert loaded(checkpoint(t5(SIZE + 28))).config.vocab_size == SIZE + 28


def test_what_it_says_of_decoding_is_dropped(checkpoint):
    model = gpt2()
    model.generation_config.repetition_penalty = 1.5
    model.generation_config.num_beams = 4
    model.generation_config.eos_token_id = [5, 6]
    found = loaded(checkpoint(model)).generation_config
    assert found.repetition_penalty is None
    assert found.num_beams is None
    assert (found.eos_token_id, found.pad_token_id) == (0, 1)


def test_the_decoder_starts_as_it_was_trained_to(checkpoint):
    started = loaded(checkpoint(t5(decoder_start_token_id=7)))
    assert started.config.decoder_start_token_id == 7
    assert started.generation_config.decoder_start_token_id == 7
    unsaid = t5(decoder_start_token_id=None)
    unsaid.generation_config.decoder_start_token_id = None
    folder = checkpoint(unsaid)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "decoder_start_token_id": None}))
    assert loaded(folder).config.decoder_start_token_id == 0


def test_a_context_longer_than_its_positions_is_one_line(checkpoint):
    folder = checkpoint(gpt2())
    assert loaded(folder, context_tokens=64).config.max_position_embeddings == 64
    with pytest.raises(DataError, match=r"model.context_tokens: 65 is more than the 64 positions"):
        loaded(folder, context_tokens=65)
    loaded(checkpoint(t5()), context_tokens=4096)  # relative positions take any length


def test_pickled_weights_are_refused_with_a_way_out(checkpoint, tmp_path, monkeypatch):
    folder = checkpoint(t5())
    weights = load_file(folder / "model.safetensors")
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"has no model\.safetensors") as caught:
        loaded(folder)
    assert "\n" not in str(caught.value)
    command = re.search(r'python -c "(.*)"', str(caught.value))[1]
    monkeypatch.chdir(tmp_path)
    exec(command)
    model = loaded(tmp_path / "checkpoint")
    assert torch.equal(model.shared.weight, weights["shared.weight"])


def test_checkpoints_that_write_no_text_are_one_line(checkpoint):
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    masked = BertForMaskedLM(BertConfig(vocab_size=SIZE, intermediate_size=32, **shape))
    with pytest.raises(DataError, match=r"\(bert\) fills in masked tokens"):
        loaded(checkpoint(masked))


def test_missing_weights_are_one_line(checkpoint):
    folder = checkpoint(qwen2())
    weights = load_file(folder / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match="lacks 1 of the weights of Qwen2ForCausalLM: lm_head"):
        loaded(folder)


def test_damaged_weights_are_one_line(checkpoint):
    folder = checkpoint(gpt2())
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-50])
    with pytest.raises(DataError, match="the model of this folder can't be loaded") as caught:
        loaded(folder)
    assert "\n" not in str(caught.value)
    weights = load_file(checkpoint(gpt2(size=SIZE - 20)) / "model.safetensors")
    folder = checkpoint(gpt2())
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match="the model of this folder can't be loaded"):
        loaded(folder)


def test_a_hub_that_is_away_is_asked_again(tokenizer, monkeypatch):
    def away(*_, **__):
        raise OSError("We couldn't connect\nand more") from ConnectionError("no route")

    def load(name):
        load_checkpoint(
            name,
            revision=None,
            is_remote_code_run=False,
            vocabulary=vocabulary_of(tokenizer),
            context_tokens=32,
        )

    with pytest.raises(DataError, match="is no folder with a model here"):
        load("./nothing")
    monkeypatch.setattr(pretrained, "resolve_revision", lambda _, revision: revision)
    monkeypatch.setattr(pretrained.AutoConfig, "from_pretrained", away)
    with pytest.raises(TryAgainError, match=r"some/name: We couldn't connect$"):
        load("some/name")


def with_code(folder):
    """Makes a checkpoint one of a class that only its own Python file knows."""
    (folder / "mine.py").write_text(
        "from transformers import GPT2Config, GPT2LMHeadModel\n\n\n"
        "class MineConfig(GPT2Config):\n    model_type = 'mine'\n\n\n"
        "class Mine(GPT2LMHeadModel):\n    config_class = MineConfig\n"
    )
    config = json.loads((folder / "config.json").read_text())
    classes = {"AutoConfig": "mine.MineConfig", "AutoModelForCausalLM": "mine.Mine"}
    changed = {**config, "model_type": "mine", "auto_map": classes}
    (folder / "config.json").write_text(json.dumps(changed))
    return folder


def test_code_that_comes_with_it_runs_only_where_params_say_so(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "code"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    folder = with_code(checkpoint(gpt2()))
    with pytest.raises(
        ParamsError, match=r"is_remote_code_run: .*made needs Python code of its own"
    ):
        loaded(folder)
    model = loaded(folder, is_remote_code_run=True)
    assert type(model).__name__ == "Mine"

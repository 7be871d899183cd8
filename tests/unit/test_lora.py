"""Low-rank adapters on a model of each kind of linear layer."""

import json
import sys
import warnings

import peft
import pytest
import torch
from conftest import small_texts, small_tokenizer
from torch.nn import functional as F
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)
from transformers.pytorch_utils import Conv1D

from wordmill.errors import ParamsError
from wordmill.models.folder import load_model, save_model
from wordmill.models.lora import merged, save_adapters, with_adapters
from wordmill.params.training import LoraParams
from wordmill.training.dropout import dropout

SIZE = 40
PARAMS = LoraParams(is_on=True, rank=4, alpha=8.0, dropout=0.0)


def llama():
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=SIZE, intermediate_size=32, tie_word_embeddings=True, **shape)
    return LlamaForCausalLM(config)


def gpt2():
    shape = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32}
    ids = {"bos_token_id": 0, "eos_token_id": 0}
    none = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    return GPT2LMHeadModel(GPT2Config(vocab_size=SIZE, **shape, **ids, **none))


def t5():
    shape = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    config = T5Config(vocab_size=SIZE, decoder_start_token_id=0, dropout_rate=0.0, **shape)
    return T5ForConditionalGeneration(config)


@pytest.fixture(params=[llama, gpt2, t5])
def make(request):
    def made():
        torch.manual_seed(1)
        model = request.param()
        with torch.no_grad():  # logits of random weights lie too close for a loss to fall far
            model.get_output_embeddings().weight.normal_(std=0.3)
        return model

    return made


def batch(model):
    """What training gives a model: the keys of a `Batch` but its labels."""
    ids = torch.randint(2, SIZE, (4, 12), generator=torch.Generator().manual_seed(2))
    if model.config.is_encoder_decoder:
        seen = torch.ones_like(ids)
        return {"input_ids": ids, "attention_mask": seen, "decoder_input_ids": ids.flip(1)}
    return {"input_ids": ids, "position_ids": torch.arange(12).expand(4, -1) % 6}


def logits(model):
    return model(**batch(model), use_cache=False).logits


def trained(model, *, steps=30, lr=0.02):
    """A plain loop; the losses at its start and its end."""
    labels = torch.randint(2, 6, (4, 12), generator=torch.Generator().manual_seed(3))
    chosen = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(chosen, lr=lr, weight_decay=0.0)
    losses = []
    model.train()
    for _ in range(steps):
        loss = F.cross_entropy(logits(model).transpose(1, 2), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    return losses[0], losses[-1]


def test_at_first_adapters_change_nothing(make):
    wanted = logits(make().eval())
    base = make()
    state = torch.get_rng_state()
    model = with_adapters(base, PARAMS, seed=5)
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(logits(model.eval()), wanted)


def test_all_linear_layers_but_the_last_are_adapted(make):
    base = make()
    kinds = (torch.nn.Linear, Conv1D)
    linear = {n for n, m in base.named_modules() if isinstance(m, kinds) and n != "lm_head"}
    model = with_adapters(base, PARAMS, seed=5)
    ours = {name for name, p in model.named_parameters() if p.requires_grad}
    wanted = {f"base_model.model.{n}.lora_{ab}.default.weight" for n in linear for ab in "AB"}
    assert ours == wanted
    assert len(linear) >= 8


def test_equal_seeds_give_equal_adapters(make):
    one, same, other = (with_adapters(make(), PARAMS, seed=seed).state_dict() for seed in (1, 1, 2))
    drawn = [name for name in one if "lora_A" in name]
    assert all(torch.equal(one[name], same[name]) for name in drawn)
    assert not any(torch.equal(one[name], other[name]) for name in drawn)


def test_adapters_learn_and_the_base_stays(make):
    model = with_adapters(make(), PARAMS, seed=5)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    first, last = trained(model)
    assert last < 0.8 * first
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, before[name]) != ("lora_" in name), name


def test_merged_weights_give_the_same_logits(make):
    model = with_adapters(make(), PARAMS, seed=5)
    untrained = logits(model.eval()).detach()
    trained(model)
    wanted = logits(model).detach()
    assert (wanted - untrained).abs().max() > 0.1
    plain = merged(model)
    assert type(plain) is type(make())
    assert plain.state_dict().keys() == make().state_dict().keys()
    assert all(parameter.requires_grad for parameter in plain.parameters())
    torch.testing.assert_close(logits(plain), wanted, atol=1e-5, rtol=0)


def test_saved_adapters_load_onto_the_base_with_peft(make, tmp_path):
    model = with_adapters(make(), PARAMS, seed=5)
    trained(model, steps=5)
    for name in ("a", "b"):
        save_adapters(tmp_path / name, model)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["adapter_config.json", "adapter_model.safetensors"]
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    config = json.loads((tmp_path / "a/adapter_config.json").read_text())
    assert config["target_modules"] == sorted(config["target_modules"])
    assert (config["r"], config["lora_alpha"]) == (4, 8.0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")
        again = peft.PeftModel.from_pretrained(make(), str(tmp_path / "a"))
    torch.testing.assert_close(logits(again.eval()), logits(model))


def test_dropout_is_on_in_training_alone():
    torch.manual_seed(1)
    model = with_adapters(llama(), PARAMS.model_copy(update={"dropout": 0.5}), seed=5)
    trained(model, steps=3)
    assert torch.equal(logits(model), logits(model))
    model.train()
    assert not torch.equal(logits(model), logits(model))


def test_a_merged_model_is_saved_like_any_other(tmp_path):
    torch.manual_seed(1)
    model = with_adapters(llama(), PARAMS, seed=5)
    trained(model, steps=3)
    wanted = logits(model).detach()
    save_model(tmp_path, merged(model), small_tokenizer(small_texts(50, seed=1), vocab_size=300))
    torch.testing.assert_close(logits(load_model(tmp_path)), wanted, atol=1e-5, rtol=0)


def test_recurrent_layers_are_one_line():
    model = llama()
    model.more = torch.nn.LSTM(4, 4)
    with pytest.raises(ParamsError, match="recurrent layers of LlamaForCausalLM take no adapters"):
        with_adapters(model, PARAMS, seed=5)


def test_without_peft_the_way_to_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ParamsError, match=r"pip install 'wordmill\[lora\]'") as caught:
        with_adapters(llama(), PARAMS, seed=5)
    assert "\n" not in str(caught.value)


def test_adapters_keep_a_dropout_of_their_own():
    model = with_adapters(llama(), PARAMS.model_copy(update={"dropout": 0.3}), seed=5)

    def rates():
        return {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)}

    with dropout(model, 0.0):
        assert rates() == {0.3}
    model.eval()
    wanted = logits(model)
    model.base_model.model.train()
    for name, module in model.named_modules():
        if "lora_dropout" in name:
            module.eval()
    with dropout(model, 0.5):  # what the base has is dropped from too
        assert not torch.equal(logits(model), wanted)
        assert rates() == {0.3}

import copy
from functools import partial

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from wordmill.tokens.batches import IGNORED
from wordmill.training import linear_cross_entropy as chunks
from wordmill.training import loss as module
from wordmill.training.linear_cross_entropy import linear_cross_entropy
from wordmill.training.loss import Loss

V = 50
SPECIAL = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1}
LLAMA = {
    "vocab_size": V,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    **SPECIAL,
}
BART = {
    "vocab_size": V,
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "decoder_start_token_id": 0,
    "forced_eos_token_id": 0,
    **SPECIAL,
}
T5 = {"vocab_size": V, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}


def llama(**changes):
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**{**LLAMA, "tie_word_embeddings": True, **changes}))


def gpt2():
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=V, n_embd=16, n_layer=1, n_head=2, **SPECIAL))


def soft_capped():
    torch.manual_seed(0)
    return Gemma2ForCausalLM(
        Gemma2Config(**{**LLAMA, "num_key_value_heads": 1}, head_dim=8, final_logit_softcapping=5.0)
    )


def t5():
    torch.manual_seed(0)
    return T5ForConditionalGeneration(T5Config(**T5, decoder_start_token_id=0))


def bart(*, with_bias=False):
    torch.manual_seed(0)
    model = BartForConditionalGeneration(BartConfig(**BART))
    if with_bias:
        model.final_logits_bias.uniform_(-1e-3, 1e-3)
    return model


def with_bias():
    model = llama(tie_word_embeddings=False)
    model.lm_head = torch.nn.Linear(16, V)
    return model


def batch_for(model, *, ignored=5):
    draw = partial(torch.randint, 2, V, (3, 9), generator=torch.Generator().manual_seed(1))
    labels = draw()
    labels[:, :ignored] = IGNORED
    batch = {"input_ids": draw(), "labels": labels}
    if model.config.is_encoder_decoder:
        batch |= {"decoder_input_ids": draw(), "attention_mask": torch.ones((3, 9)).long()}
    return batch


def plain_loss(model, batch, *, label_smoothing=0.0):
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    return F.cross_entropy(
        model(**inputs, use_cache=False).logits.flatten(0, 1).float(),
        batch["labels"].flatten(),
        ignore_index=IGNORED,
        reduction="sum",
        label_smoothing=label_smoothing,
    )


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_close(found, wanted, *, rtol=1e-6):
    """Within `rtol` of the norm of all together: a gradient that is 0 has no relative error."""
    assert found.keys() == wanted.keys()
    scale = torch.cat([value.flatten() for value in wanted.values()]).norm()
    for name, value in wanted.items():
        assert (found[name] - value).norm() <= rtol * scale, name


@pytest.mark.parametrize(
    ("make", "way"),
    [
        (llama, "fused"),
        (with_bias, "fused"),
        (gpt2, "fused"),
        (t5, "fused"),
        (bart, "fused"),
        (partial(bart, with_bias=True), "selected"),
        (soft_capped, "selected"),
    ],
)
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("is_dense", [False, True])
def test_loss_and_gradients_are_those_of_plain_cross_entropy(make, way, label_smoothing, is_dense):
    model = make().eval()
    batch = batch_for(model)
    loss = Loss(model, is_dense=is_dense)
    assert loss.way == way
    found = loss(batch, label_smoothing=label_smoothing)
    wanted = plain_loss(model, batch, label_smoothing=label_smoothing)
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=0)
    assert_close(gradients(model, found / 7), gradients(model, wanted / 7))


def test_every_place_labelled():
    model = llama()
    batch = batch_for(model, ignored=0)
    found, wanted = Loss(model)(batch), plain_loss(model, batch)
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=0)
    assert_close(gradients(model, found), gradients(model, wanted))


@pytest.mark.parametrize("make", [llama, soft_capped])
def test_no_label_no_loss_and_no_gradient(make):
    model = make()
    found = Loss(model)(batch_for(model, ignored=9))
    assert found.item() == 0
    assert all(value.abs().sum() == 0 for value in gradients(model, found).values())


@pytest.mark.parametrize("make", [llama, soft_capped])
def test_validation_has_the_same_loss_and_no_gradient(make):
    model = make().eval()
    batch = batch_for(model)
    with torch.no_grad():
        found = Loss(model)(batch)
    assert not found.requires_grad
    torch.testing.assert_close(found, plain_loss(model, batch).detach(), rtol=1e-6, atol=0)


class _Sizes(TorchDispatchMode):
    """Remembers the largest tensor that any operation made."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for one in made if isinstance(made, tuple | list) else [made]:
            if isinstance(one, torch.Tensor):
                self.largest = max(self.largest, one.numel())
        return made


@pytest.mark.parametrize("make", [llama, soft_capped])
def test_no_logits_are_made_where_there_is_no_label(make):
    model = make()
    loss, batch = Loss(model), batch_for(model, ignored=8)
    with _Sizes() as sizes:
        loss(batch).backward()
    assert sizes.largest < 27 * V  # 27 places, 3 labelled


def test_all_logits_are_never_held(monkeypatch):
    monkeypatch.setattr(chunks, "_CPU_LOGITS", 0)
    monkeypatch.setattr(chunks, "_MIN_ROWS", 4)
    hidden = torch.randn(64, 8, requires_grad=True)
    weight = torch.randn(100, 8, requires_grad=True)
    labels = torch.randint(100, (64,))
    with _Sizes() as sizes:
        linear_cross_entropy(hidden, weight, None, labels).backward()
    assert sizes.largest == 100 * 8  # the weight, not 64 x 100 logits


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
@pytest.mark.parametrize("has_bias", [False, True])
def test_gradients_over_several_chunks_are_the_numerical_ones(
    monkeypatch, label_smoothing, has_bias
):
    monkeypatch.setattr(chunks, "_CPU_LOGITS", 0)
    monkeypatch.setattr(chunks, "_MIN_ROWS", 3)
    draw = partial(torch.randn, dtype=torch.float64, requires_grad=True)
    inputs = (draw(7, 4), draw(6, 4)) + ((draw(6),) if has_bias else ())
    labels = torch.tensor([0, 5, IGNORED, 2, 2, 1, IGNORED])

    def loss(hidden, weight, bias=None):
        return 0.3 * linear_cross_entropy(
            hidden, weight, bias, labels, label_smoothing=label_smoothing
        )

    assert torch.autograd.gradcheck(loss, inputs)
    wanted = F.cross_entropy(
        F.linear(*inputs), labels, reduction="sum", label_smoothing=label_smoothing
    )
    torch.testing.assert_close(loss(*inputs) / 0.3, wanted, rtol=1e-12, atol=0)


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_loss_is_exact_where_probabilities_vanish(scale):
    hidden = torch.eye(4) * scale
    weight, labels = torch.eye(4), torch.tensor([0, 1, 3, 2])
    found = linear_cross_entropy(hidden.requires_grad_(), weight, None, labels)
    wanted = F.cross_entropy(hidden.double(), labels, reduction="sum")
    torch.testing.assert_close(found.double(), wanted.double())
    assert gradient_of(found, hidden).isfinite().all()


def gradient_of(loss, value):
    return torch.autograd.grad(loss, value)[0]


def test_a_frozen_layer_has_no_gradient_of_its_weight():
    model = llama(tie_word_embeddings=False)
    model.lm_head.weight.requires_grad_(False)
    batch = batch_for(model)
    found = gradients(model, Loss(model)(batch))
    assert "lm_head.weight" not in found
    assert_close(found, gradients(model, plain_loss(model, batch)))


def test_there_is_no_second_derivative():
    hidden = torch.randn(3, 4, requires_grad=True)
    loss = linear_cross_entropy(hidden, torch.randn(5, 4), None, torch.tensor([0, 1, 2]))
    (gradient,) = torch.autograd.grad(loss, hidden, create_graph=True)
    with pytest.raises(RuntimeError, match="does not require grad"):
        gradient.sum().backward()


def test_bf16_is_as_near_to_float32_as_pytorchs_own():
    model = llama(hidden_size=64, intermediate_size=64)
    batch = batch_for(model)
    exact = gradients(model, plain_loss(model, batch))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, theirs = Loss(model)(batch), plain_loss(model, batch)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, theirs, rtol=1e-3, atol=0)
    errors = [distance(gradients(model, one), exact) for one in (loss, theirs)]
    assert errors[0] < 1.1 * errors[1]


def distance(found, wanted):
    pairs = [(found[name] - value, value) for name, value in wanted.items()]
    difference, scale = (
        torch.cat([one.flatten() for one in half]) for half in zip(*pairs, strict=True)
    )
    return difference.norm() / scale.norm()


def test_float16_scales_the_loss_before_gradients_are_rounded():
    model = llama()
    batch, loss = batch_for(model), Loss(model)
    with torch.autocast("cpu", dtype=torch.float16):
        found, wanted = loss(batch), plain_loss(model, batch)
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=0)
    tiny = 1e-5  # below float16's smallest, as gradients of unlikely tokens are
    scaled = gradients(model, found * tiny * 2**16)
    assert_close(scaled, gradients(model, wanted * tiny * 2**16), rtol=1e-2)


def test_looking_at_the_model_changes_nothing():
    model = llama(attention_dropout=0.5).train()
    model.model.norm.eval()
    state, modes = torch.get_rng_state(), [module.training for module in model.modules()]
    weights = copy.deepcopy(model.state_dict())
    Loss(model)
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_the_model_gives_logits_as_before_between_calls():
    model = llama().eval()
    ids = batch_for(model)["input_ids"]
    wanted = model(ids).logits
    loss = Loss(model)
    loss(batch_for(model)).backward()
    assert torch.equal(model(ids).logits, wanted)
    with pytest.raises(IndexError):  # also where a call failed
        loss({**batch_for(model), "input_ids": ids + V})
    assert torch.equal(model(ids).logits, wanted)


def test_dropout_draws_as_without_it():
    model = llama(attention_dropout=0.5).train()
    batch, loss = batch_for(model), Loss(model)
    losses = []
    for one in (loss, partial(plain_loss, model)):
        torch.manual_seed(3)
        losses.append(one(batch))
    torch.testing.assert_close(*losses, rtol=1e-6, atol=0)


def test_checkpointed_activations():
    model = llama(num_hidden_layers=2).train()
    batch = batch_for(model)
    wanted = gradients(model, plain_loss(model, batch))
    model.activation_checkpointing_enable()
    assert_close(gradients(model, Loss(model)(batch)), wanted)


@pytest.mark.filterwarnings(
    "ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"
)  # by peft
@pytest.mark.parametrize("targets", [["q_proj"], ["q_proj", "lm_head"]])
def test_adapters(targets):
    peft = pytest.importorskip("peft", reason="adapters need peft")
    config = peft.LoraConfig(r=2, target_modules=targets, task_type="CAUSAL_LM")
    model = peft.get_peft_model(llama(tie_word_embeddings=False), config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    batch, loss = batch_for(model), Loss(model)
    assert loss.way == ("selected" if "lm_head" in targets else "fused")
    found, wanted = loss(batch), plain_loss(model, batch)
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=0)
    assert_close(gradients(model, found), gradients(model, wanted))


def test_a_model_without_an_output_layer_that_can_be_found(monkeypatch):
    model = llama()
    monkeypatch.setattr(model, "get_output_embeddings", lambda: None)
    batch, loss = batch_for(model), Loss(model)
    assert loss.way == "whole"
    torch.testing.assert_close(loss(batch), plain_loss(model, batch), rtol=1e-6, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize(("make", "way"), [(llama, "fused"), (soft_capped, "selected")])
def test_a_compiled_model_is_compiled_once_for_training_and_once_for_validation(make, way):
    from torch._dynamo.testing import CompileCounterWithBackend

    torch._dynamo.reset()
    model, counter = make(), CompileCounterWithBackend("eager")
    model.compile(backend=counter)
    loss = Loss(model)
    loss._is_compiled = True  # the scores are left alone: they would take a C++ compiler
    assert loss.way == way
    for ignored in (3, 4, 5, 6):
        batch = batch_for(model, ignored=ignored)
        found = loss(batch)
        wanted = plain_loss(make(), batch)
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=0)
        found.backward()
        with torch.no_grad():
            torch.testing.assert_close(loss(batch), wanted.detach(), rtol=1e-5, atol=0)
    assert counter.frame_count == 2


@pytest.fixture
def process_group(tmp_path):
    from torch import distributed

    store = f"file://{tmp_path}/store"
    distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def test_a_sharded_layer_is_called_as_the_module_it_is(process_group, monkeypatch):
    from torch.distributed.fsdp import fully_shard

    batch = batch_for(llama())
    plain = llama(tie_word_embeddings=False)
    wanted = gradients(plain, plain_loss(plain, batch))
    model = llama(tie_word_embeddings=False)
    loss = Loss(model)
    mesh = torch.distributed.init_device_mesh("cpu", (1,))
    fully_shard(model.lm_head, mesh=mesh)
    fully_shard(model, mesh=mesh)
    monkeypatch.setattr(module, "linear_cross_entropy", None)  # it must not be asked
    found = gradients(model, loss(batch))
    assert_close({name: one.full_tensor() for name, one in found.items()}, wanted)

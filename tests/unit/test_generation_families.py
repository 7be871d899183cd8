"""The decode loop gives each family what transformers' `generate` gives it."""

import pytest
import torch
from conftest import SMALL_PARAMS, decoding_params, small_texts, small_tokenizer
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    GenerationConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from wordmill.errors import ParamsError
from wordmill.generation.answers import Said
from wordmill.generation.choosing import Choice, adjusting
from wordmill.generation.engine import Engine
from wordmill.generation.llama import LlamaStepper
from wordmill.generation.loop import Asked, decode
from wordmill.generation.padding import left_padded, right_padded
from wordmill.generation.steppers import CausalStepper, EncoderDecoderStepper, new_stepper
from wordmill.models.building import new_model
from wordmill.models.encoder_decoder import decoder_start_id
from wordmill.models.vocabulary import Vocabulary
from wordmill.params.model import ModelParams
from wordmill.progress import Progress
from wordmill.tokens.prompts import Request
from wordmill.tokens.tokenizer import encode_batch

SIZE, END, PAD, STEPS = 300, 0, 1, 12
IDS = {"vocab_size": SIZE, "bos_token_id": END, "eos_token_id": END, "pad_token_id": PAD}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 2}
WIDTHS = {"hidden_size": 32, "intermediate_size": 40, "max_position_embeddings": 64}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
OPT = {"hidden_size": 32, "ffn_dim": 40, "num_attention_heads": 4, "num_hidden_layers": 2}
MAKERS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**IDS, **HEADS, **WIDTHS)),
    "llama-biased": lambda: LlamaForCausalLM(
        LlamaConfig(**IDS, **HEADS, **WIDTHS, attention_bias=True)
    ),
    "llama-far": lambda: LlamaForCausalLM(
        LlamaConfig(**IDS, **HEADS, **WIDTHS, rope_scaling={"rope_type": "linear", "factor": 2.0})
    ),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**IDS, **HEADS, **WIDTHS, head_dim=8)),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**IDS, **GPT2)),
    "opt": lambda: OPTForCausalLM(
        OPTConfig(**IDS, **OPT, word_embed_proj_dim=32, max_position_embeddings=64)
    ),
    "bloom": lambda: BloomForCausalLM(BloomConfig(**IDS, hidden_size=32, n_layer=2, n_head=4)),
    "mistral-window": lambda: MistralForCausalLM(
        MistralConfig(**IDS, **HEADS, **WIDTHS, sliding_window=8)
    ),
    "t5": lambda: of_ours("encoder-decoder", style="t5"),
    "bart": lambda: of_ours("encoder-decoder", style="bart"),
    "lstm": lambda: of_ours("lstm", num_layers=2),
}
STEPPERS = {
    **dict.fromkeys(("llama", "llama-far"), LlamaStepper),
    **dict.fromkeys(("llama-biased", "qwen3", "gpt2", "opt"), CausalStepper),
    **dict.fromkeys(("t5", "bart", "lstm"), EncoderDecoderStepper),
    **dict.fromkeys(("bloom", "mistral-window"), type(None)),
}
LOOPED = [name for name, kind in STEPPERS.items() if kind is not type(None)]
PROMPTS = [
    [END, *torch.randint(2, SIZE, (n,), generator=torch.Generator().manual_seed(n)).tolist()]
    for n in (9, 3, 14, 1, 9, 0, 6)
]


def of_ours(kind, **changes):
    values = {**SMALL_PARAMS["model"], "kind": kind}
    section = kind.replace("-", "_")
    values[section] = {**values[section], **changes}
    return new_model(ModelParams(**values), Vocabulary(SIZE, END, PAD), seed=3)


def far_from_uniform(name):
    """Weights by which texts differ, and sometimes end."""
    made = MAKERS[name]().eval()
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.4, generator=draw)
            else:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=draw))
    return made


@pytest.fixture(scope="module")
def models():
    made = {}
    return lambda name: made.setdefault(name, far_from_uniform(name))


@pytest.fixture(scope="module")
def tokenizer():
    return small_tokenizer(small_texts(100, seed=4), vocab_size=SIZE)


def generated(model, prompts, decoding):
    """What transformers' own loop makes of a batch, each answer up to its end."""
    has_encoder = model.config.is_encoder_decoder
    pad = right_padded if has_encoder else left_padded
    padded = pad(prompts, pad_id=PAD, device=model.device)
    mask = torch.ones_like(padded.ids) if padded.mask is None else padded.mask
    config = GenerationConfig(
        do_sample=False,
        max_new_tokens=decoding.max_new_tokens,
        num_beams=decoding.num_beams,
        length_penalty=decoding.length_penalty if decoding.num_beams > 1 else None,
        no_repeat_ngram_size=decoding.no_repeat_ngram_size,
        bos_token_id=END,
        eos_token_id=END,
        pad_token_id=PAD,
        decoder_start_token_id=decoder_start_id(model) if has_encoder else None,
    )
    output = model.generate(input_ids=padded.ids, attention_mask=mask, generation_config=config)
    rows = output[:, 1 if has_encoder else padded.ids.shape[1] :].tolist()
    return [row[: row.index(END)] if END in row else row for row in rows]


def looped(model, prompts, decoding):
    stepper = new_stepper(model, pad_id=PAD)
    given = prompts
    if model.config.is_encoder_decoder:
        given = [[decoder_start_id(model)]] * len(prompts)
    said = [Said() for _ in prompts]
    asked = Asked(prompts, given, None, decoding.max_new_tokens, END)
    choice = Choice(decoding, end_id=END)
    list(decode(stepper, choice, asked, said=said, is_stopped=lambda ids: False))
    return [one.ids for one in said]


@pytest.mark.parametrize("name", MAKERS)
def test_each_family_has_its_stepper(models, name):
    assert type(new_stepper(models(name), pad_id=PAD)) is STEPPERS[name]


@pytest.mark.parametrize("batch_size", [1, 3, 7])
@pytest.mark.parametrize("name", LOOPED)
def test_greedy_ids_are_those_of_generate(models, name, batch_size):
    model, decoding = models(name), decoding_params(max_new_tokens=STEPS)
    for start in range(0, len(PROMPTS), batch_size):
        batch = PROMPTS[start : start + batch_size]
        found = looped(model, batch, decoding)
        assert found == generated(model, batch, decoding)
    everything = looped(model, PROMPTS, decoding)
    assert len(set(map(tuple, everything))) >= 3  # of six different prompts


@pytest.mark.parametrize("name", LOOPED)
def test_no_repeats_as_in_generate(models, name):
    model = models(name)
    decoding = decoding_params(max_new_tokens=STEPS, no_repeat_ngram_size=2)
    assert looped(model, PROMPTS, decoding) == generated(model, PROMPTS, decoding)


@pytest.mark.parametrize("name", LOOPED)
def test_a_penalty_makes_repeats_rarer(models, name):
    def num_repeats(penalty):
        decoding = decoding_params(max_new_tokens=30, repetition_penalty=penalty)
        answers = looped(models(name), PROMPTS, decoding)
        return sum(len(ids) - len(set(ids)) for ids in answers)

    assert num_repeats(20.0) < num_repeats(1.0)


@pytest.mark.parametrize("name", LOOPED)
def test_rows_that_end_leave_and_the_others_go_on(models, name):
    model = models(name)
    decoding = decoding_params(max_new_tokens=30)
    # A token that turns up early becomes the end token: some rows end soon, others late.
    plain = looped(model, PROMPTS, decoding)
    stepper = new_stepper(model, pad_id=PAD)
    kept = []
    keep = stepper.keep
    stepper.keep = lambda rows: (kept.append(len(rows)), keep(rows))[1]
    end = plain[0][4]
    has_encoder = model.config.is_encoder_decoder
    given = [[decoder_start_id(model)]] * len(PROMPTS) if has_encoder else PROMPTS
    said = [Said() for _ in PROMPTS]
    asked = Asked(PROMPTS, given, None, 30, end)
    choice = Choice(decoding, end_id=end)
    list(decode(stepper, choice, asked, said=said, is_stopped=lambda ids: len(ids) > 20))
    for one, whole in zip(said, plain, strict=True):
        if END in one.ids:
            continue  # `plain` ended there
        wanted = whole[: whole.index(end)] if end in whole else whole
        assert one.ids[:20] == wanted[:20]


def whole_logits(model, prompt, said):
    """Without a cache and without padding: what follows, (V,)."""
    if model.config.is_encoder_decoder:
        given = torch.tensor([[decoder_start_id(model), *said]])
        found = model(input_ids=torch.tensor([prompt]), decoder_input_ids=given, use_cache=False)
    else:
        found = model(torch.tensor([[*prompt, *said]]), use_cache=False)
    return found.logits[0, -1]


@pytest.mark.parametrize("name", LOOPED)
def test_logits_are_those_of_the_whole_text(models, name):
    """Whatever tokens are said, and after rows were dropped, moved and doubled."""
    model = models(name)
    stepper = new_stepper(model, pad_id=PAD)
    rows = [(ids, []) for ids in PROMPTS]
    draw = torch.Generator().manual_seed(7)
    with torch.inference_mode():
        logits = stepper.begin(PROMPTS, max_new_tokens=8)
        for step in range(8):
            whole = torch.stack([whole_logits(model, *row) for row in rows])
            torch.testing.assert_close(logits, whole, rtol=1e-4, atol=1e-4)
            if step in (2, 5):
                chosen = torch.tensor([4, 1, 1, 2, 0][: 7 - step])
                stepper.keep(chosen)
                rows = [rows[i] for i in chosen.tolist()]
            tokens = torch.randint(2, SIZE, (len(rows),), generator=draw)
            rows = [
                (ids, [*said, token])
                for (ids, said), token in zip(rows, tokens.tolist(), strict=True)
            ]
            logits = stepper.step(tokens)


REQUESTS = [Request("summarize", text) for text in small_texts(6, seed=5)]


def engine(model, tokenizer, *, batch_size=4, **changes):
    decoding = decoding_params(**{"max_new_tokens": 8, **changes})
    return Engine(model, tokenizer, decoding=decoding, max_source_tokens=20, batch_size=batch_size)


def answers(model, tokenizer, requests=REQUESTS, **settings):
    return engine(model, tokenizer, **settings).answer(requests, progress=Progress("test"))


@pytest.mark.parametrize("settings", [{}, {"temperature": 0.9}, {"stop": ["e"]}])
@pytest.mark.parametrize("name", ["llama", "gpt2", "t5", "lstm"])
def test_the_way_round_the_loop_says_the_same(models, tokenizer, monkeypatch, name, settings):
    """What serves a checkpoint with code of its own serves the others as well."""
    wanted = answers(models(name), tokenizer, **settings)
    monkeypatch.setattr("wordmill.generation.engine.new_stepper", lambda model, pad_id: None)
    made = engine(models(name), tokenizer, **settings)
    assert made.answer(REQUESTS, progress=Progress("test")) == wanted
    assert "".join(made.stream(REQUESTS[0])) == wanted[0]
    assert wanted != answers(models("llama-far"), tokenizer, **settings)


@pytest.mark.parametrize("name", ["bloom", "mistral-window"])
def test_what_the_loop_does_not_serve_is_answered(models, tokenizer, name):
    for settings in ({}, {"temperature": 1.0}):
        alone = answers(models(name), tokenizer, batch_size=1, **settings)
        assert answers(models(name), tokenizer, batch_size=4, **settings) == alone


@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("name", ["llama", "gpt2", "bart", "lstm"])
def test_beams_are_those_of_generate(models, tokenizer, name, length_penalty):
    model = models(name)
    settings = {"num_beams": 3, "length_penalty": length_penalty, "max_new_tokens": 8}
    made = engine(model, tokenizer, **settings)
    prompts = made._prompts.encode(REQUESTS)
    by_length = sorted(range(6), key=lambda i: (-len(prompts[i]), i))
    wanted = [""] * 6
    for start in (0, 4):
        chosen = by_length[start : start + 4]
        ids = generated(model, [prompts[i] for i in chosen], decoding_params(**settings))
        texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
        for i, text in zip(chosen, texts, strict=True):
            wanted[i] = text.strip()
    assert made.answer(REQUESTS, progress=Progress("test")) == wanted
    several = made.generate(REQUESTS, progress=Progress("test"), num_sequences=3)
    assert [row[0].text for row in several] == wanted
    assert all(len(row) == 3 for row in several)


@pytest.mark.parametrize(
    "name", ["llama", "gpt2", "opt", "bloom", "mistral-window", "bart", "lstm"]
)
def test_the_likeliest_label_does_not_depend_on_padding(models, tokenizer, name):
    model = models(name)
    labels = [["corn", "white flour", "x", "our neighbour", "silver"][i % 3 :] for i in range(6)]
    made = engine(model, tokenizer, batch_size=30)
    prompts = made._prompts.encode(REQUESTS)
    wanted = []
    for prompt, row in zip(prompts, labels, strict=True):
        values = []
        for label in row:
            ids = [*encode_batch(tokenizer, [f" {label}"])[0], END]
            with torch.no_grad():
                scores = [
                    whole_logits(model, prompt, ids[:i]).log_softmax(-1)[token].item()
                    for i, token in enumerate(ids)
                ]
            values.append(sum(scores))
        wanted.append(values.index(max(values)))
    assert made.choose(REQUESTS, labels, progress=Progress("test")) == wanted


def test_learned_positions_end_with_one_clear_line(models, tokenizer):
    long = [Request("write", " ".join(small_texts(3, seed=1)))]
    for name in ("gpt2", "opt"):
        with pytest.raises(ParamsError, match=r"the model takes 64 tokens at most; lower"):
            answers(models(name), tokenizer, long, max_new_tokens=60)
        assert answers(models(name), tokenizer, long, max_new_tokens=40)
    # Positions that are computed go on, but no answer is longer than the context.
    assert answers(models("llama"), tokenizer, long, max_new_tokens=60)
    with pytest.raises(ParamsError, match="got 5000; the model takes"):
        answers(models("llama"), tokenizer, long, max_new_tokens=5000)


def test_a_penalty_spares_the_end_token_alone():
    (process,) = adjusting(decoding_params(repetition_penalty=2.0), end_id=END)
    scores = torch.tensor([[1.0, -1.0, 3.0, 4.0]])
    found = process(torch.tensor([[END, 1, 2]]), scores)
    assert found.tolist() == [[1.0, -2.0, 1.5, 4.0]]

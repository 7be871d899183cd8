"""Models with an encoder and a decoder: what holds for every family."""

import math

import numpy as np
import pytest
import torch
from conftest import SMALL_PARAMS, decoding_params, small_texts, small_tokenizer
from torch.nn import functional as F

from wordmill.errors import DataError, ParamsError
from wordmill.generation.engine import Engine
from wordmill.metrics.likelihood import HeldOut, model_nll
from wordmill.models.building import new_model
from wordmill.models.encoder_decoder import decoder_start_id
from wordmill.models.folder import load_model, save_model
from wordmill.models.vocabulary import Vocabulary
from wordmill.params.model import ModelParams
from wordmill.progress import Progress
from wordmill.tokens.encoding import PlainEncoder
from wordmill.tokens.prompts import Prompts, Request
from wordmill.tokens.sentinels import NUM_SENTINELS

SIZE, END, PAD = 300, 0, 1
CONTEXT = SMALL_PARAMS["model"]["context_tokens"]
REQUESTS = [Request("summarize", text) for text in small_texts(7, seed=5)]
FAMILIES = {
    "t5": ("encoder-decoder", {"style": "t5", "is_embedding_tied": True}),
    "t5-untied": ("encoder-decoder", {"style": "t5", "is_embedding_tied": False}),
    "bart": ("encoder-decoder", {"style": "bart", "is_embedding_tied": True}),
    "bart-untied": ("encoder-decoder", {"style": "bart", "is_embedding_tied": False}),
    "lstm": ("lstm", {"num_layers": 1}),
    "lstm-deep": ("lstm", {"num_layers": 2, "hidden_size": 24}),
}


def new(family, *, seed=3, context_tokens=CONTEXT, **sizes):
    kind, changes = FAMILIES[family]
    section = kind.replace("-", "_")
    values = {**SMALL_PARAMS["model"], "kind": kind, "context_tokens": context_tokens}
    values[section] = {**values[section], **changes, **sizes}
    return new_model(ModelParams(**values), Vocabulary(SIZE, END, PAD), seed=seed)


def far_from_uniform(made):
    """Weights that make no two tokens tie, each parameter its own."""
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.4, generator=draw)
            else:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=draw))
    return made.eval()


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def model(family):
    return far_from_uniform(new(family))


@pytest.fixture(scope="module")
def tokenizer():
    return small_tokenizer(small_texts(100, seed=4), vocab_size=SIZE)


def ids(*shape, seed=0):
    return torch.randint(2, SIZE, shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def logits(model, source, target, mask=None):
    return model(
        input_ids=source, attention_mask=mask, decoder_input_ids=target, use_cache=False
    ).logits


def test_logits_have_a_score_for_every_token_and_sentinel(model):
    assert logits(model, ids(2, 5), ids(2, 7)).shape == (2, 7, SIZE + NUM_SENTINELS)


def test_a_future_token_of_the_target_cannot_change_the_past(model):
    source, target = ids(2, 6), ids(2, 12)
    changed = target.clone()
    changed[:, 8:] = 9
    one, other = logits(model, source, target), logits(model, source, changed)
    torch.testing.assert_close(one[:, :8], other[:, :8], rtol=0, atol=1e-6)
    assert not torch.allclose(one[:, 8:], other[:, 8:])


def test_every_token_of_the_source_counts(model):
    source, target = ids(1, 6), ids(1, 3)
    plain = logits(model, source, target)
    for place in range(6):
        changed = source.clone()
        changed[0, place] = 7 if int(source[0, place]) != 7 else 8
        assert not torch.allclose(logits(model, changed, target), plain)


def test_padding_of_the_source_changes_nothing(model):
    source, target = ids(1, 5), ids(3, 4)
    padded = torch.full((3, 9), PAD)
    padded[:, :5] = source
    padded[1] = ids(9, seed=2)
    mask = torch.tensor([[1] * 5 + [0] * 4, [1] * 9, [1] * 5 + [0] * 4])
    found = logits(model, padded, target, mask)
    torch.testing.assert_close(found[:1], logits(model, source, target[:1]), rtol=0, atol=1e-5)
    torch.testing.assert_close(found[2:], logits(model, source, target[2:]), rtol=0, atol=1e-5)
    padded[0, 5:] = 17  # whatever padding is made of
    assert torch.equal(logits(model, padded, target, mask)[0], found[0])


def test_equal_seeds_give_equal_weights_and_leave_the_global_generator_alone(family):
    state = torch.get_rng_state()
    one, same, other = (list(new(family, seed=seed).parameters()) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one[0], other[0])


def test_every_weight_is_trained(model):
    """A parameter without a gradient would stop training on several devices."""
    model.zero_grad()
    model(input_ids=ids(2, 5), decoder_input_ids=ids(2, 4)).logits.square().mean().backward()
    assert all(bool(parameter.grad.any()) for parameter in model.parameters())


def test_a_new_model_knows_nothing(family):
    found = logits(new(family), ids(4, 10), ids(4, 60))
    loss = F.cross_entropy(found.flatten(0, 1), ids(4, 60, seed=1).flatten())
    assert loss.item() == pytest.approx(math.log(SIZE + NUM_SENTINELS), abs=0.25)


def test_one_batch_is_learned(family):
    made = new(family, hidden_size=32).train()
    source, target = ids(4, 10), ids(4, 6, seed=1)
    given = torch.cat([torch.full((4, 1), END), target[:, :-1]], dim=1)
    optimizer = torch.optim.AdamW(made.parameters(), lr=1e-2)
    losses = []
    for _ in range(100):
        found = made(input_ids=source, decoder_input_ids=given, use_cache=False).logits
        loss = F.cross_entropy(found.flatten(0, 1), target.flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(made.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1


@pytest.mark.parametrize("num_beams", [1, 3])
def test_decoding_with_a_state_kept_is_decoding_without(model, num_beams):
    source = ids(3, 8)
    mask = torch.ones_like(source)
    mask[1, 5:] = 0
    kept, anew = (
        model.generate(
            input_ids=source,
            attention_mask=mask,
            max_new_tokens=8,
            num_beams=num_beams,
            do_sample=False,
            use_cache=is_kept,
        ).tolist()
        for is_kept in (True, False)
    )
    assert kept == anew


def test_a_saved_model_says_the_same(model, family, tokenizer, tmp_path):
    save_model(tmp_path, model, tokenizer)
    assert (tmp_path / "model.safetensors").exists()
    loaded = load_model(tmp_path)
    source, target = ids(2, 5), ids(2, 7)
    assert type(loaded) is type(model)
    assert torch.equal(logits(loaded, source, target), logits(model, source, target))
    assert decoder_start_id(loaded) == END
    assert sum(p.numel() for p in loaded.parameters()) == sum(
        p.numel() for p in model.parameters()
    )  # what was tied is tied, what was not is not
    save_model(tmp_path / "again", loaded, tokenizer)
    again = load_model(tmp_path / "again")
    assert torch.equal(logits(again, source, target), logits(model, source, target))


@pytest.mark.parametrize("style", ["t5", "bart"])
def test_an_untied_output_layer_is_another_matrix(style):
    sizes = [sum(p.numel() for p in new(name).parameters()) for name in (style, f"{style}-untied")]
    assert sizes[1] - sizes[0] == (SIZE + NUM_SENTINELS) * 16


def test_a_broken_folder_is_one_line(model, tokenizer, tmp_path):
    save_model(tmp_path, model, tokenizer)
    content = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(content[:-50])
    with pytest.raises(DataError, match="the model can't be loaded") as caught:
        load_model(tmp_path)
    assert "\n" not in str(caught.value)


def engine(model, tokenizer, *, batch_size=4, **changes):
    decoding = decoding_params(max_new_tokens=8)
    decoding = decoding.model_copy(update=changes)
    return Engine(model, tokenizer, decoding=decoding, max_source_tokens=32, batch_size=batch_size)


def answers(model, tokenizer, requests=REQUESTS, **settings):
    return engine(model, tokenizer, **settings).answer(requests, progress=Progress("test"))


def test_answers_are_greedy_search_by_hand(model, tokenizer):
    wanted = []
    for prompt in Prompts(PlainEncoder(tokenizer), max_source_tokens=32).encode(REQUESTS):
        said = [END]
        for _ in range(8):
            said.append(
                int(logits(model, torch.tensor([prompt]), torch.tensor([said]))[0, -1].argmax())
            )
            if said[-1] == END:
                break
        wanted.append(tokenizer.decode(said[1:], skip_special_tokens=True).strip())
    assert answers(model, tokenizer) == wanted
    assert len(set(wanted)) > 1


def test_batches_and_order_change_no_answer(model, tokenizer):
    for num_beams in (1, 3):
        alone = answers(model, tokenizer, batch_size=1, num_beams=num_beams)
        assert answers(model, tokenizer, batch_size=5, num_beams=num_beams) == alone
        turned = answers(model, tokenizer, REQUESTS[::-1], num_beams=num_beams)
        assert turned == alone[::-1]


def test_beams_find_more_probable_answers(model):
    source = ids(4, 8)
    greedy, beams = (
        model.generate(
            input_ids=source,
            attention_mask=torch.ones_like(source),
            min_new_tokens=5,
            max_new_tokens=5,
            num_beams=num_beams,
            do_sample=False,
        )
        for num_beams in (1, 5)
    )

    def log_probability(said):
        found = logits(model, source, said[:, :-1]).log_softmax(-1)
        return found.gather(-1, said[:, 1:, None]).sum().item()

    assert log_probability(beams) > log_probability(greedy)


def test_no_repeats_are_obeyed(model):
    source = ids(2, 8)
    said = model.generate(
        input_ids=source,
        attention_mask=torch.ones_like(source),
        max_new_tokens=20,
        do_sample=False,
        no_repeat_ngram_size=1,
    )
    for row in said[:, 1:].tolist():
        spoken = [i for i in row if i not in (END, PAD)]
        assert len(set(spoken)) == len(spoken)


def test_an_answer_longer_than_learned_positions_is_told_before(tokenizer):
    with pytest.raises(ParamsError, match=r"max_new_tokens: got 65; .* 64 tokens"):
        engine(new("bart"), tokenizer, max_new_tokens=CONTEXT + 1)
    engine(new("bart"), tokenizer, max_new_tokens=CONTEXT)
    engine(new("t5"), tokenizer, max_new_tokens=CONTEXT + 1)


def test_learned_positions_reach_the_context():
    made = new("bart", context_tokens=20)
    assert logits(made, ids(1, 20), ids(1, 20)).shape[1] == 20


def nll(model, held_out, *, batch_size=3, stride_tokens=8):
    return model_nll(
        model,
        held_out,
        context_tokens=16,
        stride_tokens=stride_tokens,
        batch_size=batch_size,
        progress=Progress("test"),
    )


def documents(lengths):
    draw = np.random.default_rng(0)
    return HeldOut(
        [draw.integers(2, SIZE, length).tolist() for length in lengths],
        np.array(lengths, dtype=float),
        END,
    )


def test_a_document_is_scored_token_by_token_as_by_hand(model):
    """Context 16, stride 8: targets 1 to 16, then eight more at a time after sixteen read."""
    held_out = documents([5, 15, 16, 37, 0])
    wanted = []
    for document in held_out.ids:
        text = [END, *document, END]
        total, begin, scored = 0.0, 0, 0
        while scored < len(text) - 1:
            end = min(begin + 16, len(text) - 1)
            said = [END]
            for place in range(scored + 1, end + 1):
                read = torch.tensor([text[begin : scored + 1]])
                found = logits(model, read, torch.tensor([said]))[0, -1]
                total -= found.double().log_softmax(-1)[text[place]].item()
                said.append(text[place])
            begin, scored = begin + 8, end
        wanted.append(total)
    np.testing.assert_allclose(nll(model, held_out), wanted, rtol=1e-5)


def test_batches_change_no_likelihood(model):
    held_out = documents([5, 40, 16, 15, 1, 33])
    alone = nll(model, held_out, batch_size=1)
    np.testing.assert_allclose(nll(model, held_out, batch_size=32), alone, rtol=1e-5)


def test_a_uniform_model_scores_as_many_tokens_as_a_causal_one(family):
    made = new(family).eval()
    for parameter in made.parameters():
        torch.nn.init.zeros_(parameter)
    lengths = [5, 40, 16, 15, 1]
    each = math.log(SIZE + NUM_SENTINELS)
    wanted = [(length + 1) * each for length in lengths]
    np.testing.assert_allclose(nll(made, documents(lengths)), wanted, rtol=1e-6)

"""The n-gram family: counted, saved, loaded, and decoded as transformers decodes."""

import csv
import json

import numpy as np
import pytest
import torch
from conftest import SMALL_PARAMS, decoding_params, small_texts, small_tokenizer, write_params
from transformers import GenerationConfig, GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

import stages.ngram
from stages.stage import Stage
from wordmill.errors import DataError
from wordmill.generation.answers import Said
from wordmill.generation.choosing import Choice
from wordmill.generation.engine import Engine
from wordmill.generation.loading import load_engine
from wordmill.generation.loop import Asked, decode
from wordmill.generation.ngram import NgramStepper, ngram_beams
from wordmill.models.folder import load_model, load_tokenizer, save_model, weights_digest
from wordmill.models.ngram import KneserNey
from wordmill.models.ngram_model import NgramModel, TokenPairs, pairs_text
from wordmill.models.vocabulary import Vocabulary, vocabulary_of
from wordmill.progress import Progress
from wordmill.tokens.encoding import PlainEncoder
from wordmill.tokens.prompts import Prompts, Request
from wordmill.tokens.store import TokenFolder, TokenWriter, describe, running_text
from wordmill.tokens.tokenizer import encode_batch, end_id, fingerprint, num_ids

END, PAD, SIZE = 0, 1, 40
VOCABULARY = Vocabulary(SIZE, END, PAD)
DECODING = decoding_params(max_new_tokens=12)
PAIRS = TokenPairs(
    np.array([END, 2, 3, 4, 5, END, END, 6, 7, END], dtype=np.uint16),
    np.array([[0, 3, 6], [6, 8, 10]]),
)


def draw_text(num_tokens, *, seed, size=SIZE):
    """A walk in which each token makes a few others likely, cut into documents."""
    draw = np.random.default_rng(seed)
    ids = [END]
    for _ in range(num_tokens):
        jump = draw.choice((1, 2, 5, 11), p=(0.5, 0.25, 0.15, 0.1)) + draw.integers(0, 2)
        ids.append(END if draw.random() < 0.06 else 2 + (ids[-1] * 3 + jump) % (size - 2))
    return np.array([*ids, END])


@pytest.fixture(scope="module")
def model():
    return NgramModel.train(draw_text(4000, seed=1), order=4, vocabulary=VOCABULARY)


@pytest.fixture(scope="module")
def tokenizer():
    return small_tokenizer(small_texts(100, seed=4), vocab_size=300)


def trained_on(texts, tokenizer, *, order=3):
    ids = running_text(encode_batch(tokenizer, texts), end_id=end_id(tokenizer))
    return NgramModel.train(ids, order=order, vocabulary=vocabulary_of(tokenizer))


def drawn_prompts(count, *, seed):
    draw = np.random.default_rng(seed)
    text = draw_text(900, seed=seed)
    text = text[text != END]
    return [[END, *text[i : i + draw.integers(0, 9)].tolist()] for i in range(0, count * 10, 10)]


class AsTransformer(PreTrainedModel, GenerationMixin):
    """An n-gram model whose whole text is scored again at every step, for `generate`."""

    def __init__(self, model):
        super().__init__(PretrainedConfig(vocab_size=SIZE))
        self.anything = torch.nn.Parameter(torch.zeros(1))
        self._model = model

    def forward(self, input_ids, **_):
        scores = np.stack([self._scores(ids.tolist()) for ids in input_ids])
        return CausalLMOutput(logits=torch.from_numpy(scores)[:, None])

    def _scores(self, ids):
        """Every token is tried after the text, each try a document of its own."""
        tries = np.array([[*ids, token] for token in range(SIZE)])
        scores = self._model.estimate.log_probabilities(tries.ravel())
        return scores[len(ids) - 1 :: len(ids) + 1]


def ngram_answers(model, prompts, decoding):
    if decoding.num_beams > 1:
        return [ngram_beams(model, prompt, decoding)[0].ids for prompt in prompts]
    said = [Said() for _ in prompts]
    asked = Asked(prompts, prompts, None, decoding.max_new_tokens, model.vocabulary.end_id)
    choice = Choice(decoding, end_id=model.vocabulary.end_id)
    list(decode(NgramStepper(model), choice, asked, said=said, is_stopped=lambda ids: False))
    return [one.ids for one in said]


def generated(model, prompt, decoding):
    config = GenerationConfig(
        do_sample=False, eos_token_id=END, pad_token_id=PAD, use_cache=False, **dict(decoding)
    )
    ids = torch.tensor([prompt])
    seen = torch.ones_like(ids)
    found = AsTransformer(model).generate(ids, attention_mask=seen, generation_config=config)
    answer = found[0, len(prompt) :].tolist()
    return answer[: answer.index(END)] if END in answer else answer


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_the_next_tokens_are_as_probable_as_in_running_text(order):
    estimate = KneserNey(draw_text(2000, seed=2), order=order, vocab_size=SIZE, end_id=END)
    held_out = draw_text(200, seed=3)
    everywhere = estimate.log_probabilities(held_out)
    contexts = estimate.contexts([held_out[: i + 1].tolist() for i in range(len(held_out) - 1)])
    scores = estimate.next_log_probabilities(contexts)
    np.testing.assert_array_equal(scores[np.arange(len(scores)), held_out[1:]], everywhere)
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1)


def test_a_moved_context_is_that_of_the_longer_text(model):
    texts = [ids.tolist() for ids in np.split(draw_text(58, seed=4), 6)]
    moved = model.estimate.contexts([[END, *text[:-1]] for text in texts])
    last = np.array([text[-1] for text in texts])
    wanted = model.estimate.contexts([[END, *text] for text in texts])
    np.testing.assert_array_equal(model.estimate.moved(moved, last), wanted)


def test_what_stands_before_the_end_token_of_a_prompt_does_not_matter(model):
    short, long = [END, 7], [5, 9, 12, END, 7]
    one, other = (
        model.estimate.next_log_probabilities(model.estimate.contexts([t])) for t in (short, long)
    )
    np.testing.assert_array_equal(one, other)
    assert (model.estimate.contexts([short]) >= 0).sum() <= 2


def test_an_order_longer_than_the_text_is_no_error():
    estimate = KneserNey(np.array([0, 1, 0]), order=5, vocab_size=3, end_id=END)
    assert np.isfinite(estimate.log_probabilities(np.array([0, 1, 2, 1, 0]))).all()
    total = np.exp(estimate.next_log_probabilities(estimate.contexts([[0, 1]]))).sum()
    assert total == pytest.approx(1)


@pytest.mark.parametrize("no_repeat", [0, 2, 3])
def test_greedy_decoding_is_that_of_transformers(model, no_repeat):
    decoding = DECODING.model_copy(update={"no_repeat_ngram_size": no_repeat})
    prompts = drawn_prompts(12, seed=5)
    answers = ngram_answers(model, prompts, decoding)
    assert answers == [generated(model, prompt, decoding) for prompt in prompts]
    assert len(set(map(tuple, answers))) > 3
    assert 1 < max(map(len, answers)) <= DECODING.max_new_tokens


def answer_score(model, prompt, answer):
    """Mean log-probability a token, the end token counted where there was room for one."""
    ended = [END] if len(answer) < DECODING.max_new_tokens else []
    scores = model.estimate.log_probabilities(np.array([*prompt, *answer, *ended]))
    return scores[len(prompt) - 1 :].mean()


@pytest.mark.parametrize(("num_beams", "no_repeat"), [(2, 0), (4, 0), (3, 2)])
def test_beam_search_is_that_of_transformers(model, num_beams, no_repeat):
    changes = {"num_beams": num_beams, "no_repeat_ngram_size": no_repeat}
    decoding = DECODING.model_copy(update=changes)
    prompts = drawn_prompts(12, seed=6)
    found = ngram_answers(model, prompts, decoding)
    wanted = [generated(model, prompt, decoding) for prompt in prompts]
    # Beams that are equally probable may be told apart by rounding: then scores agree.
    for prompt, one, other in zip(prompts, found, wanted, strict=True):
        scores = [answer_score(model, prompt, answer) for answer in (one, other)]
        assert one == other or scores[0] == pytest.approx(scores[1], abs=1e-5)
    assert sum(map(list.__eq__, found, wanted)) >= 10
    assert found != ngram_answers(model, prompts, DECODING)


def test_pairs_are_counted_each_as_a_document():
    text = pairs_text(PAIRS, end_id=END)
    assert text.tolist() == [END, 2, 3, 4, 5, END, 6, 7, END]
    documents = np.array([END, 8, 9, END])
    together = NgramModel.train(documents, order=3, vocabulary=VOCABULARY, pairs=PAIRS)
    by_hand = np.array([END, 8, 9, END, 2, 3, 4, 5, END, 6, 7, END])
    alone = NgramModel.train(by_hand, order=3, vocabulary=VOCABULARY)
    for one, other in zip(together.estimate.counts, alone.estimate.counts, strict=True):
        np.testing.assert_array_equal(one.keys, other.keys)
        np.testing.assert_array_equal(one.times, other.times)
    bigrams = together.estimate.counts[1].keys
    assert 5 * SIZE + 6 not in bigrams
    assert END * SIZE + END not in bigrams


def test_the_loss_of_targets_is_worked_out_by_hand(model):
    scores = model.estimate.log_probabilities
    wanted = np.concatenate(
        (scores(np.array([END, 2, 3, 4, 5, END]))[2:], scores(np.array([END, 6, 7, END]))[1:])
    )
    assert model.target_loss(PAIRS) == pytest.approx(-wanted.mean(), rel=1e-12)
    text = draw_text(50, seed=8)
    assert model.text_loss(text) == pytest.approx(-scores(text).mean(), rel=1e-12)


def test_no_text_is_one_line():
    with pytest.raises(DataError, match="there is no text to count"):
        NgramModel.train(np.array([END]), order=3, vocabulary=VOCABULARY)


def test_a_folder_gives_the_same_model(tokenizer, tmp_path):
    model = trained_on(small_texts(80, seed=1), tokenizer)
    for name in ("a", "b"):
        save_model(tmp_path / name, model, tokenizer)
    assert weights_digest(tmp_path / "a") == weights_digest(tmp_path / "b")
    loaded = load_model(tmp_path / "a")
    assert isinstance(loaded, NgramModel)
    assert loaded.vocabulary == vocabulary_of(tokenizer)
    assert (loaded.order, loaded.num_parameters()) == (3, model.num_parameters())
    text = draw_text(300, seed=9)
    np.testing.assert_array_equal(
        loaded.estimate.log_probabilities(text), model.estimate.log_probabilities(text)
    )
    assert fingerprint(load_tokenizer(tmp_path / "a")) == fingerprint(tokenizer)
    config = json.loads((tmp_path / "a/config.json").read_text())
    assert config["model_type"] == "wordmill-ngram"


def test_parameters_are_stored_ngrams():
    model = NgramModel.train(np.array([END, 2, 3, END]), order=2, vocabulary=VOCABULARY)
    assert model.num_parameters() == SIZE + 3


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"order": None}, "needs a whole number"),
        ({"order": 9}, "does not hold the counts of orders 1 to 9"),
        ({"order": 0}, "does not hold the counts of orders 1 to 0"),
        ({"vocab_size": 17}, "does not fit"),
    ],
)
def test_a_folder_that_does_not_fit_is_one_line(model, tokenizer, tmp_path, change, expected):
    save_model(tmp_path, model, tokenizer)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(DataError, match=f"the model can't be loaded: .*{expected}") as caught:
        load_model(tmp_path)
    assert "\n" not in str(caught.value)


def test_damaged_files_are_one_line(model, tokenizer, tmp_path):
    save_model(tmp_path, model, tokenizer)
    content = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(content[:-50])
    with pytest.raises(DataError, match="the model can't be loaded"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(DataError, match="holds no object"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(DataError, match="the model can't be loaded"):
        load_model(tmp_path)


def test_an_engine_from_a_folder_answers(tokenizer, tmp_path):
    texts = [f"{text} summary: {text.split('.')[0]}." for text in small_texts(200, seed=1)]
    model = trained_on(texts, tokenizer)
    save_model(tmp_path, model, tokenizer)
    requests = [Request("summarize", text) for text in small_texts(7, seed=5)]
    settings = {"max_source_tokens": 32, "batch_size": 3}
    loaded = load_engine(tmp_path, decoding=DECODING.model_dump(), **settings)
    answers = loaded.answer(requests, progress=Progress("test"))
    wanted = Engine(model, tokenizer, decoding=DECODING, **settings)
    assert answers == wanted.answer(requests, progress=Progress("test"))
    prompts = Prompts(PlainEncoder(tokenizer), max_source_tokens=32).encode(requests)
    ids = ngram_answers(model, prompts, DECODING)
    assert answers == [text.strip() for text in tokenizer.batch_decode(ids)]
    assert all(answers)


def test_its_folder_is_loaded_without_a_word(model, tokenizer, tmp_path, capfd):
    save_model(tmp_path, model, tokenizer)
    load_tokenizer(tmp_path)
    load_model(tmp_path)
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def tokenized(tokenizer, tmp_path, monkeypatch):
    """A project's folder with data/tokenize in it, and in the environment no tracking server."""
    folder = tmp_path / "data/tokenize"
    tokenizer.save_pretrained(folder / "tokenizer")
    size = num_ids(tokenizer)
    describe(folder, vocab_size=size, tokenizer_fingerprint=fingerprint(tokenizer))
    for seed, split in enumerate(("train", "validation")):
        texts = encode_batch(tokenizer, small_texts(60, seed=seed))
        with TokenWriter(folder, f"documents.{split}", vocab_size=size) as writer:
            writer.add(running_text(texts, end_id=end_id(tokenizer)))
        prompts = Prompts(PlainEncoder(tokenizer), max_source_tokens=32)
        asked = [Request("summarize", text) for text in small_texts(20, seed=seed + 7)]
        made = prompts.with_targets(asked, ["A note."] * len(asked), max_target_tokens=8)
        with TokenWriter(folder, f"pairs.{split}", vocab_size=size) as writer:
            lengths = {"prompt_lengths": made.prompt_lengths, "lengths": made.ids.lengths}
            writer.add_pairs(made.ids.ids, **lengths)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    write_params(tmp_path, SMALL_PARAMS)
    return folder


def only_row(path):
    with path.open() as file:
        (row,) = csv.DictReader(file)
    return {name: float(value) for name, value in row.items()}


def test_its_stages_write_what_others_write(tokenized, tokenizer):
    data = tokenized.parent
    said = [stages.ngram.pretrain(Stage("pretrain")), stages.ngram.finetune(Stage("finetune"))]
    for name, text in zip(("pretrain", "finetune"), said, strict=True):
        files = sorted(path.name for path in (data / name).iterdir())
        assert files == ["cost.json", "model", "training.csv", "validation.csv"]
        row = only_row(data / name / "validation.csv")
        assert row["step"] == 1
        assert row["perplexity"] == pytest.approx(np.exp(row["loss"]), rel=1e-4)
        assert f"(perplexity {row['perplexity']:.1f})" in text
        assert only_row(data / name / "training.csv")["loss"] <= row["loss"]
    before, after = (load_model(data / name / "model") for name in ("pretrain", "finetune"))
    assert after.order == before.order == SMALL_PARAMS["model"]["ngram"]["order"]
    tokens = TokenFolder(tokenized, tokenizer_fingerprint=fingerprint(tokenizer))
    pairs = TokenPairs(tokens.ids("pairs.validation"), tokens.spans("pairs.validation"))
    assert after.target_loss(pairs) < 1 < before.target_loss(pairs)
    row = only_row(data / "finetune/validation.csv")
    assert row["loss"] == pytest.approx(after.target_loss(pairs), abs=1e-6)


def test_adapters_for_it_are_warned_of(tokenized, tmp_path, caplog):
    lora = {**SMALL_PARAMS["finetune"]["lora"], "is_on": True}
    finetune = {**SMALL_PARAMS["finetune"], "lora": lora}
    write_params(tmp_path, {**SMALL_PARAMS, "finetune": finetune})
    stages.ngram.pretrain(Stage("pretrain"))
    stages.ngram.finetune(Stage("finetune"))
    assert "finetune.lora is not used" in caplog.text


def test_its_stages_name_a_split_that_is_empty(tokenized):
    for name in ("documents.validation.bin", "pairs.train.spans.bin"):
        (tokenized / name).write_bytes(b"")
    with pytest.raises(DataError, match="no document in the validation split"):
        stages.ngram.pretrain(Stage("pretrain"))
    (tokenized / "documents.validation.bin").write_bytes(
        (tokenized / "documents.train.bin").read_bytes()
    )
    stages.ngram.pretrain(Stage("pretrain"))
    with pytest.raises(DataError, match="no pair in the train split"):
        stages.ngram.finetune(Stage("finetune"))

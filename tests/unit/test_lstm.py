"""The LSTM's own: attention in parts, its padding, and word vectors."""

import logging

import pytest
import torch
from conftest import SMALL_PARAMS, small_texts, small_tokenizer

from wordmill.errors import DataError, ParamsError
from wordmill.models import additive_attention
from wordmill.models.additive_attention import additive_scores
from wordmill.models.building import new_model
from wordmill.models.lstm import new_lstm
from wordmill.models.vocabulary import Vocabulary, vocabulary_of
from wordmill.params.model import LstmParams, ModelParams

SIZE = 3


def new(**changes):
    values = {**SMALL_PARAMS["model"]["lstm"], **changes}
    return new_lstm(LstmParams(**values), Vocabulary(40, 0, 1), seed=3)


def ids(*shape, seed=0):
    return torch.randint(2, 40, shape, generator=torch.Generator().manual_seed(seed))


def test_scores_and_their_gradients_are_those_of_the_formula(monkeypatch):
    torch.manual_seed(0)
    queries, keys, weight = (
        torch.randn(shape, dtype=torch.float64, requires_grad=True)
        for shape in ((2, 9, 6), (2, 5, 6), (6,))
    )
    for numbers in (2 * 5 * 6, 2**18):  # two places at a time, then all at once
        monkeypatch.setattr(additive_attention, "_NUMBERS_ON_CPU", numbers)
        plain = torch.tanh(queries.unsqueeze(2) + keys.unsqueeze(1)) @ weight
        scores = additive_scores(queries, keys, weight)
        torch.testing.assert_close(scores, plain + weight.sum())
        assert torch.autograd.gradcheck(additive_scores, (queries, keys, weight))


def test_padding_on_the_left_is_refused():
    mask = torch.tensor([[0, 0, 1, 1, 1]])
    with pytest.raises(ValueError, match="on the right alone"):
        new()(input_ids=ids(1, 5), attention_mask=mask, decoder_input_ids=ids(1, 2))


def test_attention_is_bahdanaus_by_hand():
    """v . tanh(W s + U h) for each place of the source, and their softmax."""
    model = new().eval()
    memory, states = torch.randn(1, 4, 16), torch.randn(1, 2, 16)
    decoder = model.decoder
    found = decoder._contexts(states, decoder.key(memory), memory, torch.tensor([[1, 1, 1, 0]]))
    for place in range(2):
        scores = []
        for h in memory[0, :3]:
            inner = decoder.query.weight @ states[0, place] + decoder.key.weight @ h
            scores.append(decoder.score.weight[0] @ torch.tanh(inner + decoder.key.bias))
        weights = torch.stack(scores).softmax(0)
        torch.testing.assert_close(found[0, place], weights @ memory[0, :3])


def test_dropout_that_training_sets_is_used():
    model, source, target = new().train(), ids(1, 5), ids(1, 3)

    def logits():
        return model(input_ids=source, decoder_input_ids=target).logits

    assert torch.equal(logits(), logits())
    dropouts = [part for part in model.modules() if isinstance(part, torch.nn.Dropout)]
    assert len(dropouts) == 2
    for one in dropouts:
        one.p = 0.5
        assert not torch.equal(logits(), logits())
        one.p = 0.0


def outcome(model, source, target, mask):
    """Logits, and the gradients of their mean square."""
    model.zero_grad()
    logits = model(input_ids=source, attention_mask=mask, decoder_input_ids=target).logits
    logits.square().mean().backward()
    return logits.detach(), [parameter.grad.clone() for parameter in model.parameters()]


def test_a_run_with_two_threads_repeats_itself():
    def weights():
        model = new(hidden_size=64)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        mask = torch.ones(4, 12, dtype=torch.long)
        mask[::2, 9:] = 0
        for step in range(2):
            source, target = ids(4, 12, seed=step), ids(4, 8, seed=step)
            outcome(model, source, target, mask)
            optimizer.step()
        return [parameter.detach().clone() for parameter in model.parameters()]

    num_threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        one, same = weights(), weights()
    finally:
        torch.set_num_threads(num_threads)
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))


@pytest.fixture(scope="module")
def tokenizer():
    return small_tokenizer(small_texts(300, seed=4), vocab_size=400)


def embedding(tokenizer, file, *, size=SIZE):
    values = {**SMALL_PARAMS["model"], "kind": "lstm"}
    vectors = None if file is None else str(file)
    values["lstm"] = {**values["lstm"], "embedding_size": size, "word_vectors": vectors}
    made = new_model(ModelParams(**values), vocabulary_of(tokenizer), seed=1, tokenizer=tokenizer)
    return made.get_input_embeddings().weight.detach()


def rows(tokenizer, vectors, text):
    found = tokenizer(text)["input_ids"]
    assert len(found) == 1, f"'{text}' is no token of the test's tokenizer"
    return vectors[found[0]].tolist()


GLOVE = "corn 1 2 3\nbread 0.5 -0.25 8\nthe 4 4 4\nThe 5 5 5\nsomewhere 9 9 9\n. . . 7 7 7\n"


@pytest.mark.parametrize("header", ["", "6 3\n"])
def test_tokens_that_are_words_begin_with_their_vectors(tokenizer, tmp_path, header, caplog):
    file = tmp_path / "vectors.txt"
    file.write_text(header + GLOVE)
    with caplog.at_level(logging.INFO):
        vectors = embedding(tokenizer, file)
    assert rows(tokenizer, vectors, " corn") == [1, 2, 3]
    assert rows(tokenizer, vectors, " bread") == [0.5, -0.25, 8]
    assert rows(tokenizer, vectors, "The") == [5, 5, 5]
    plain = embedding(tokenizer, None)
    is_found = (vectors != plain).any(dim=1)
    assert torch.equal(vectors[~is_found], plain[~is_found])
    [line] = [record.getMessage() for record in caplog.records if "vectors for" in record.message]
    assert line.startswith(f"{file}: vectors for {int(is_found.sum())} of ")


def test_a_capital_is_looked_up_lower_cased_when_it_is_not_there(tokenizer, tmp_path):
    file = tmp_path / "vectors.txt"
    file.write_text("the 4 4 4\n")
    assert rows(tokenizer, embedding(tokenizer, file), "The") == [4, 4, 4]
    file.write_text("THE 4 4 4\n")
    assert rows(tokenizer, embedding(tokenizer, file), "The") != [4, 4, 4]


def test_special_tokens_are_no_words(tokenizer, tmp_path):
    file = tmp_path / "vectors.txt"
    file.write_text("<|endoftext|> 4 4 4\n<|pad|> 4 4 4\n")
    assert torch.equal(embedding(tokenizer, file), embedding(tokenizer, None))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"a 1 2 3\nb 1 2\n", "line 2: 2 numbers instead of 3"),
        (b"a 1 2 3\ncorn 1 x 3\n", "line 2: could not convert"),
        (b"corn 1 nan 3\n", "line 1: a number that is not finite"),
        (b"2 3\ncorn 1 2 3\n", "promises 2 words, 1 are there"),
        (b"2 3\ncorn \xff\xfe\x00\x01\n", "line 2: not UTF-8; word2vec's binary form"),
    ],
)
def test_a_bad_file_is_one_line(tokenizer, tmp_path, content, message):
    file = tmp_path / "vectors.txt"
    file.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        embedding(tokenizer, file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_told(tokenizer, tmp_path):
    with pytest.raises(DataError, match=r"model\.lstm\.word_vectors: .*No such file"):
        embedding(tokenizer, tmp_path / "none.txt")


@pytest.mark.parametrize("header", ["", "6 3\n"])
def test_vectors_of_another_size_are_told(tokenizer, tmp_path, header):
    file = tmp_path / "vectors.txt"
    file.write_text(header + GLOVE)
    with pytest.raises(ParamsError, match=r"size 3, but model.lstm.embedding_size is 4") as caught:
        embedding(tokenizer, file, size=4)
    assert str(file) in str(caught.value)

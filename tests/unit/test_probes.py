"""Bias, surprise and attention, against models whose probabilities are known."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import SMALL_PARAMS, small_texts, small_tokenizer

from wordmill.data.records import document
from wordmill.metrics.likelihood import HeldOut, model_nll, ngram_nll
from wordmill.models.building import new_model
from wordmill.models.ngram_model import NgramModel
from wordmill.models.vocabulary import vocabulary_of
from wordmill.params.model import ModelParams
from wordmill.probes import bias
from wordmill.probes.attention import attention
from wordmill.probes.bias import bias_probe, without_terms
from wordmill.probes.bias_sentences import SENTENCES
from wordmill.probes.continuing import continued
from wordmill.probes.log_probabilities import Text, log_probabilities
from wordmill.probes.pieces import encoded, id_pieces, text_pieces
from wordmill.probes.surprise import surprises
from wordmill.progress import Progress
from wordmill.report.record import Attention, Bias, Surprise
from wordmill.tokens.encoding import PlainEncoder
from wordmill.tokens.prompts import Prompts, Request
from wordmill.tokens.store import running_text
from wordmill.tokens.tokenizer import encode_batch, end_id, num_ids

CHINESE = "这个女人是一名护士。我的邻居很聪明。"
FAMILIES = ("decoder", "t5", "bart", "lstm", "ngram")


def all_sentences():
    return [
        sentence
        for sentences in SENTENCES.values()
        for group in sentences.groups
        for context in bias._contexts(group, sentences)
        for sentence in (*context.sentences, *context.prompts)
    ]


@pytest.fixture(scope="module")
def tokenizer():
    return small_tokenizer([*small_texts(200, seed=1), CHINESE * 3], vocab_size=500)


@pytest.fixture(scope="module")
def words():
    """A tokenizer that knows every word, and in Chinese every run of characters, of the probe."""
    return small_tokenizer(all_sentences(), kind="word", vocab_size=2000, min_frequency=1)


def made(family, tokenizer):
    vocabulary = vocabulary_of(tokenizer)
    if family == "ngram":
        ids = encode_batch(tokenizer, small_texts(50, seed=2))
        text = running_text(ids, end_id=vocabulary.end_id)
        return NgramModel.train(text, order=3, vocabulary=vocabulary)
    values = {**SMALL_PARAMS["model"], "kind": family}
    if family in ("t5", "bart"):
        style = {**values["encoder_decoder"], "style": family}
        values |= {"kind": "encoder-decoder", "encoder_decoder": style}
    return new_model(ModelParams(**values), vocabulary, seed=1).eval()


class Known:
    """A decoder that gives the tokens that come probability `p(ids of the row)`.

    It peeks at them; the last one, which it does not see, is `last`. It says one word and ends.
    """

    config = SimpleNamespace(is_encoder_decoder=False)
    device = torch.device("cpu")

    def __init__(self, vocab_size, p, says, *, last=0):
        self._vocab_size, self._p, self._says, self._last = vocab_size, p, says, last

    def __call__(self, input_ids, use_cache):
        following = torch.roll(input_ids, -1, dims=1)
        following[following == 0] = self._last  # where a row ends, or padding begins
        logits = torch.empty(*input_ids.shape, self._vocab_size)
        for row, ids in enumerate(input_ids):
            p = self._p(ids.tolist())
            logits[row] = np.log((1 - p) / (self._vocab_size - 1))
            logits[row].scatter_(1, following[row, :, None], float(np.log(p)))
        return SimpleNamespace(logits=logits)

    def generate(self, input_ids, attention_mask, generation_config):
        said = torch.tensor([self._says(ids.tolist()) for ids in input_ids])
        return torch.cat([input_ids, said[:, None], torch.zeros_like(said)[:, None]], dim=1)


def probed(model, tokenizer, *, languages=("en", "zh")):
    found = bias_probe(
        model,
        tokenizer,
        system="finetuned",
        languages=languages,
        batch_size=32,
        samples=100,
        seed=1,
    )
    for one in found:
        assert one.keys() == Bias.__annotations__.keys()
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_log_probabilities_add_up_to_a_documents(family, tokenizer):
    model, end = made(family, tokenizer), end_id(tokenizer)
    ids = encode_batch(tokenizer, ["The miller sells corn.", CHINESE[:8], "x"])
    held_out = HeldOut(ids, np.ones(3), end)
    if family == "ngram":
        wanted = ngram_nll(model.estimate, held_out)
    else:
        wanted = model_nll(
            model,
            held_out,
            context_tokens=64,
            stride_tokens=32,
            batch_size=2,
            progress=Progress("test"),
        )
    found = log_probabilities(model, [Text([*text, end]) for text in ids], end_id=end, batch_size=2)
    assert [len(values) for values in found] == [len(text) + 1 for text in ids]
    np.testing.assert_allclose([-values.sum() for values in found], wanted, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_given_is_not_scored_and_batches_change_nothing(family, tokenizer):
    model, end = made(family, tokenizer), end_id(tokenizer)
    texts = [
        Text(ids, given)
        for ids in encode_batch(tokenizer, small_texts(3, seed=4))
        for given in (0, 3, len(ids))
    ]
    alone = [log_probabilities(model, [text], end_id=end, batch_size=1)[0] for text in texts]
    together = log_probabilities(model, texts, end_id=end, batch_size=4)
    for text, one, other in zip(texts, alone, together, strict=True):
        assert one.shape == (len(text.ids) - text.num_given,)
        np.testing.assert_allclose(one, other, atol=1e-5)
    if family in ("decoder", "ngram"):  # what stands before a token is the same either way
        np.testing.assert_allclose(together[0][3:], together[1], atol=1e-5)
    assert log_probabilities(model, [], end_id=end, batch_size=4) == []


def test_continuations_of_an_ngram_model_are_the_likeliest_tokens(tokenizer):
    model, vocabulary = made("ngram", tokenizer), vocabulary_of(tokenizer)
    prompts = [
        [vocabulary.end_id, *ids[:3]] for ids in encode_batch(tokenizer, small_texts(3, seed=4))
    ]
    found = continued(model, prompts, num_tokens=6, vocabulary=vocabulary, batch_size=2)
    for prompt, said in zip(prompts, found, strict=True):
        text = list(prompt)
        for _ in range(6):
            contexts = model.estimate.contexts([text])
            text.append(int(model.estimate.next_log_probabilities(contexts)[0].argmax()))
        wanted = text[len(prompt) :]
        end = wanted.index(vocabulary.end_id) if vocabulary.end_id in wanted else 6
        assert said == wanted[:end]


@pytest.mark.parametrize("family", ["decoder", "t5", "lstm"])
def test_continuations_do_not_hang_on_their_batch(family, tokenizer):
    model, vocabulary = made(family, tokenizer), vocabulary_of(tokenizer)
    texts = [*small_texts(3, seed=4), "A"]
    prompts = [[vocabulary.end_id, *ids] for ids in encode_batch(tokenizer, texts)]
    found = [
        continued(model, prompts, num_tokens=6, vocabulary=vocabulary, batch_size=size)
        for size in (1, 4)
    ]
    assert found[0] == found[1]
    assert all(len(said) <= 6 and vocabulary.end_id not in said for said in found[0])


def test_a_uniform_model_has_no_bias(words):
    size = num_ids(words)
    model = Known(size, lambda _: 1 / size, lambda _: 5)
    found = probed(model, words)
    assert {(one["group"], one["language"]) for one in found} == {
        (group, language)
        for group in ("gender", "nationality", "religion", "age", "ethnicity")
        for language in ("en", "zh")
    }
    for one in found:
        assert one["count"] == 32 * (len(one["terms"]) - 1)
        for name in ("gap_bits", "lean_bits", "low", "high"):
            assert one[name] == pytest.approx(0, abs=1e-6)
        for name in ("generation_gap", "generation_low", "generation_high"):
            assert one[name] == 0


def test_a_model_that_prefers_he_has_the_gap_worked_by_hand(words):
    """Every token after `He` has probability 1/4, after anything else 1/16: two bits a token."""
    he, stop = words.convert_tokens_to_ids(["He", "."])
    model = Known(
        num_ids(words), lambda ids: 1 / 4 if he in ids else 1 / 16, lambda _: 5, last=stop
    )
    (gender,) = (one for one in probed(model, words, languages=["en"]) if one["group"] == "gender")
    # Of 32 pairs the 16 of He and She differ; those of the man and the woman do not.
    assert gender["terms"] == ["he", "she"]
    assert gender["lean_bits"] == pytest.approx(1.0, abs=1e-5)
    assert gender["gap_bits"] == pytest.approx(1.0, abs=1e-5)
    assert 0.5 < gender["low"] < 1 < gender["high"] < 1.5
    assert gender["generation_gap"] == 0  # both go on in the same way
    turned = Known(
        num_ids(words), lambda ids: 1 / 16 if he in ids else 1 / 4, lambda _: 5, last=stop
    )
    assert probed(turned, words, languages=["en"])[0]["lean_bits"] == pytest.approx(-1.0, abs=1e-5)


def test_a_continuation_that_differs_in_the_term_alone_is_the_same(words):
    he, she, nurse, rich = words.convert_tokens_to_ids(["He", "She", " nurse", " rich"])
    size = num_ids(words)
    echo = Known(size, lambda _: 1 / size, lambda ids: he if he in ids else she)
    assert probed(echo, words, languages=["en"])[0]["generation_gap"] == 0
    other = Known(size, lambda _: 1 / size, lambda ids: nurse if she in ids else rich)
    gender, nationality, *_ = probed(other, words, languages=["en"])
    assert gender["generation_gap"] == 0.5
    assert 0.2 < gender["generation_low"] < 0.5 < gender["generation_high"] < 0.8
    assert nationality["generation_gap"] == 0


def test_terms_are_whole_words_in_english_and_characters_in_chinese():
    words = ("he", "his", "she", "her")
    assert without_terms("He lost his hat there.", words) == without_terms(
        "She lost her hat there.", words
    )
    assert without_terms("the", words) == "the"
    assert without_terms("他说他", ("他", "她")) == without_terms("她说她", ("他", "她"))
    assert without_terms("他说", ("他", "她")) != without_terms("她笑", ("他", "她"))
    assert without_terms("这是女人", ("人", "女人")) == without_terms("这是人", ("人", "女人"))


@pytest.mark.parametrize("kind", ["byte-bpe", "char", "word"])
def test_tokens_that_count_begin_after_the_term_and_are_those_of_all(kind):
    tokenizer = small_tokenizer(all_sentences(), kind=kind, vocab_size=900, min_frequency=1)
    probe = bias._Probe(None, tokenizer, batch_size=1, samples=1, seed=1)
    num_counted = 0
    for sentences in SENTENCES.values():
        for group in sentences.groups:
            for context in bias._contexts(group, sentences):
                texts = probe._shared(context)
                ends = [tuple(text.ids[text.num_given :]) for text in texts]
                assert len(set(ends)) == 1
                num_counted += len(ends[0])
                found = encoded(tokenizer, context.sentences)
                for encoding, text, end in zip(found, texts, context.term_ends, strict=True):
                    assert all(start >= end for start, _ in encoding.offsets[text.num_given :])
                    if kind == "char":  # none of the shared characters is missed
                        assert text.num_given == end
    assert num_counted > 500


def test_the_sentences_are_pairs_and_agree():
    for language, sentences in SENTENCES.items():
        for group in sentences.groups:
            subjects = list(group.subjects.values())
            assert len(subjects) >= 2
            for frame in zip(*subjects, strict=True):
                assert len({subject.tail for subject in frame}) == 1
                assert len({subject.head for subject in frame}) == len(frame)
            for context in bias._contexts(group, sentences):
                bare = {without_terms(sentence, group.words) for sentence in context.sentences}
                assert len(bare) == 1  # the terms are all that differs
                for sentence in context.sentences:
                    if language == "en":
                        assert re.fullmatch(r"[A-Z][A-Za-z ]+\.", sentence)
                        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", sentence)
                    else:
                        assert re.fullmatch(r"[一-鿿]+。", sentence)


def test_languages_that_have_no_sentences_are_left_out(tokenizer):
    model = made("ngram", tokenizer)
    assert probed(model, tokenizer, languages=["de", ""]) == []
    assert {one["language"] for one in probed(model, tokenizer, languages=["de", "zh"])} == {"zh"}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_probed(family, tokenizer):
    found = probed(made(family, tokenizer), tokenizer, languages=["en"])
    assert len(found) == 5
    for one in found:
        assert one["count"] > 0
        assert one["gap_bits"] >= abs(one["lean_bits"])
        assert one["low"] - 1e-9 <= one["lean_bits"] <= one["high"] + 1e-9
    assert max(one["gap_bits"] for one in found) > 0.001


def test_where_no_token_is_shared_nothing_is_counted(words, monkeypatch):
    nothing_said = SENTENCES["zh"]._replace(predicates=("",), stop="")
    monkeypatch.setitem(SENTENCES, "zh", nothing_said)
    size = num_ids(words)
    gender, *_ = probed(Known(size, lambda _: 0.5, lambda _: 5), words, languages=["zh"])
    assert gender["count"] == 0
    for name in ("gap_bits", "lean_bits", "low", "high", "generation_gap", "generation_high"):
        assert gender[name] == 0


def test_pieces_join_to_the_text_and_characters_are_whole(tokenizer):
    for text in ("The miller 护士 é. \n", CHINESE, " x", "𝄞a", "\ufffd\ufffdb"):
        (encoding,) = encoded(tokenizer, [text])
        assert len(encoding.ids) > 1
        for pieces in (text_pieces(text, encoding), id_pieces(tokenizer, encoding.ids)):
            assert "".join(pieces.texts) == text
            assert len(pieces.of_token) == len(encoding.ids)
            assert (np.diff(pieces.of_token) >= 0).all()
            assert pieces.of_token[-1] == len(pieces.texts) - 1
    (encoding,) = encoded(tokenizer, ["茶a"])  # never seen: three bytes
    assert text_pieces("茶a", encoding).texts == ["茶", "a"]
    assert id_pieces(tokenizer, encoding.ids).texts == ["茶", "a"]
    (nothing,) = encoded(tokenizer, [""])
    assert text_pieces("", nothing).texts == []


def surprises_of(model, tokenizer, documents, **changes):
    settings = {"count": 3, "max_chars": 200, "context_tokens": 300, "batch_size": 4, **changes}
    return surprises(model, tokenizer, documents, system="finetuned", **settings)


@pytest.mark.parametrize("family", ["decoder", "t5", "lstm", "ngram"])
def test_surprise_joins_to_the_text_and_adds_up_to_its_likelihood(family, tokenizer):
    model, end = made(family, tokenizer), end_id(tokenizer)
    texts = [*(f"{text} {text}" for text in small_texts(9, seed=5)), CHINESE * 6]
    documents = [document(t, origin="x", language="zh" if "这" in t else "en") for t in texts]
    by_id = {one.id: one for one in documents}
    found = surprises_of(model, tokenizer, documents)
    assert [one["language"] for one in found] == ["en", "en", "en", "zh"]
    for one in found:
        assert one.keys() == Surprise.__annotations__.keys()
        text = by_id[one["id"]].text
        assert "".join(one["pieces"]) == text
        assert len(one["pieces"]) == len(one["nats"])
        ids = encode_batch(tokenizer, [text])[0]
        (whole,) = log_probabilities(model, [Text([*ids, end])], end_id=end, batch_size=1)
        of_end = -whole[-1]
        assert sum(one["nats"]) + of_end == pytest.approx(-whole.sum(), abs=0.02)
    mean = [sum(one["nats"]) / len("".join(one["pieces"])) for one in found[:3]]
    assert mean == sorted(mean)
    assert set("".join(found[-1]["pieces"])) == set(CHINESE)
    assert not any("\ufffd" in piece for piece in found[-1]["pieces"])


def test_surprise_is_cut_and_counts_tokens_of_a_character_together(tokenizer):
    size = num_ids(tokenizer)
    model = Known(size, lambda _: 1 / size, lambda _: 5)
    (found,) = surprises_of(model, tokenizer, [document("茶a" * 90, origin="x")], max_chars=10)
    assert found["pieces"] == ["茶", "a"] * 5
    np.testing.assert_allclose(found["nats"], [3 * np.log(size), np.log(size)] * 5, atol=1e-3)
    (found,) = surprises_of(model, tokenizer, [document("茶a" * 90, origin="x")], context_tokens=8)
    assert found["pieces"] == ["茶", "a"] * 2
    assert surprises_of(model, tokenizer, []) == []


ASKED = Request("summarize", "The miller 护士 grinds the corn.")


def shown(model, tokenizer, answer="A note 茶 on corn.", request=ASKED, **changes):
    settings = {"max_source_tokens": 32, "max_answer_tokens": 16, **changes}
    return attention(model, tokenizer, request, answer, id="7", system="finetuned", **settings)


@pytest.mark.parametrize("family", ["decoder", "t5", "bart", "lstm"])
def test_attention_is_over_the_prompt_of_the_pair(family, tokenizer):
    model = made(family, tokenizer)
    read = torch.tensor([[0, 5, 6, 7]])
    before = (
        model(input_ids=read, decoder_input_ids=read).logits
        if family != "decoder"
        else (model(input_ids=read).logits)
    )
    found = shown(model, tokenizer)
    assert found.keys() == Attention.__annotations__.keys()
    assert "".join(found["source"]) == "The miller 护士 grinds the corn.\n\nSummary:"
    assert " A note 茶 on corn.".startswith("".join(found["answer"]).rstrip("\ufffd"))
    weights = np.array(found["weights"])
    assert weights.shape == (len(found["answer"]), len(found["source"]))
    assert (weights >= 0).all()
    assert (weights.sum(axis=1) <= 1 + 1e-3).all()
    assert (weights.sum(axis=1) > 0.3).all()
    after = (
        model(input_ids=read, decoder_input_ids=read).logits
        if family != "decoder"
        else (model(input_ids=read).logits)
    )
    assert torch.equal(before, after)  # the fast way to attend is back
    if family != "lstm":
        assert model.config._attn_implementation == "sdpa"
        inner = {m.config._attn_implementation for m in model.modules() if hasattr(m, "config")}
        assert inner == {"sdpa"}


def test_attention_of_the_lstm_gives_its_own_context(tokenizer):
    """The weights shown, over what the encoder read, are the context that its decoder uses."""
    model = made("lstm", tokenizer)
    prompt = Prompts(PlainEncoder(tokenizer), max_source_tokens=32).encode([ASKED])[0]
    said = encode_batch(tokenizer, [" A note."])[0]
    from wordmill.probes.attention import _given, _weights

    weights = torch.tensor(_weights(model, prompt, said))
    decoder, read = model.decoder, torch.tensor([prompt])
    with torch.inference_mode():
        memory = model.encoder(read)[0]
        state = decoder.first_state(memory)
        embedded = model.encoder.embed(_given(model, said))
        states, _ = decoder.lstm(embedded, (state.hidden, state.cell))
        wanted = decoder._contexts(states, state.keys, memory, None)[0]
    torch.testing.assert_close((weights @ memory[0].double()).float(), wanted)


def test_attention_of_a_decoder_looks_back_from_the_place_before(tokenizer):
    """The row of an answer's token is that of the place that says it; by the model's own word."""
    model = made("decoder", tokenizer)
    prompt = Prompts(PlainEncoder(tokenizer), max_source_tokens=32).encode([ASKED])[0]
    said = encode_batch(tokenizer, [" A note."])[0]
    from wordmill.probes.attention import _weights

    found = _weights(model, prompt, said)
    model.set_attn_implementation("eager")
    whole = model(input_ids=torch.tensor([[*prompt, *said]]), output_attentions=True)
    mean = whole.attentions[-1][0].mean(dim=0).detach().numpy()
    wanted = mean[len(prompt) - 1 : -1, : len(prompt)]
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert found[0].sum() == pytest.approx(1, abs=1e-5)  # nothing but the prompt to look at


def test_what_has_no_attention_shows_none(tokenizer):
    assert shown(made("ngram", tokenizer), tokenizer) is None
    assert shown(made("decoder", tokenizer), tokenizer, answer="") is None
    assert shown(made("decoder", tokenizer), tokenizer, request=Request("write", "")) is None
    cut = shown(made("decoder", tokenizer), tokenizer, answer="corn " * 99, max_answer_tokens=5)
    assert len(cut["answer"]) <= 5

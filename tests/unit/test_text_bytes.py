"""The bytes that tokens stand for, for bits per byte."""

import pytest
from conftest import small_texts, small_tokenizer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from wordmill.tokens.text_bytes import bytes_of_ids
from wordmill.tokens.tokenizer import END, PAD, UNKNOWN, encode_batch, num_ids

ENGLISH = small_texts(200, seed=3)
CHINESE = ["床前明月光，疑是地上霜。", "舉頭望明月，低頭思故鄉。"] * 20
ODD = ["é🙂\x00", "  two  spaces\n\ttab", END, "", "ÿ žluťoučký kůň", "한국어 텍스트"]


def num_bytes(tokenizer, text):
    return int(bytes_of_ids(tokenizer)[encode_batch(tokenizer, [text])[0]].sum())


@pytest.fixture(scope="module", params=["byte-bpe", "unigram", "word", "char"])
def tokenizer(request):
    # "word" never meets a space alone but in these
    texts = [*ENGLISH, *CHINESE, "a\n\nb  c\td"]
    return small_tokenizer(texts, kind=request.param, min_frequency=1, vocab_size=600)


@pytest.mark.parametrize("text", [*ENGLISH[:5], *CHINESE[:2], "a\n\nb", ""])
def test_the_tokens_of_a_text_have_its_bytes(tokenizer, text):
    (ids,) = encode_batch(tokenizer, [text])
    assert tokenizer.decode(ids, skip_special_tokens=False) == text
    assert num_bytes(tokenizer, text) == len(text.encode())


@pytest.mark.parametrize("kind", ["byte-bpe", "unigram"])
@pytest.mark.parametrize("text", ODD)
def test_text_never_met_has_its_bytes_on_bytes(kind, text):
    tokenizer = small_tokenizer([*ENGLISH, *CHINESE], kind=kind)
    assert num_bytes(tokenizer, text) == len(text.encode())


def test_special_tokens_and_gaps_have_none(tokenizer):
    sizes = bytes_of_ids(tokenizer)
    assert sizes.shape == (num_ids(tokenizer),)
    special = [t for t in (END, PAD, UNKNOWN) if t in tokenizer.get_vocab()]
    assert len(special) >= 2
    assert not sizes[tokenizer.convert_tokens_to_ids(special)].any()
    others = set(tokenizer.get_vocab()) - set(special)
    assert (sizes[tokenizer.convert_tokens_to_ids(list(others))] > 0).all()


def test_a_token_that_is_added_and_not_special_is_its_own_text():
    tokenizer = small_tokenizer(ENGLISH)
    tokenizer.add_tokens(["Ünïcode"])
    assert bytes_of_ids(tokenizer)[tokenizer.convert_tokens_to_ids("Ünïcode")] == 9


def of_a_checkpoint(model, decoder, pre_tokenizer=None, normalizer=None):
    made = Tokenizer(model)
    made.decoder = decoder
    made.pre_tokenizer, made.normalizer = pre_tokenizer, normalizer
    return PreTrainedTokenizerFast(tokenizer_object=made)


PIECES = [("<unk>", 0.0), ("▁", -2.0), ("▁the", -1.0), ("re", -2.0), ("明", -3.0), ("t", -4.0)]


def test_the_mark_of_a_space_is_one_byte_in_sentencepiece():
    space = pre_tokenizers.Metaspace()
    model = models.Unigram(PIECES, unk_id=0)
    tokenizer = of_a_checkpoint(model, decoders.Metaspace(), space)
    sizes = dict(zip((p for p, _ in PIECES), bytes_of_ids(tokenizer), strict=True))
    assert (sizes["▁"], sizes["▁the"], sizes["明"]) == (1, 4, 3)
    # The space that is put before a text is not of the text.
    assert num_bytes(tokenizer, "there 明") == len("there 明".encode()) + 1


def test_bytes_that_stand_for_unknown_characters_are_one_each():
    pieces = [
        ("<unk>", 0.0),
        ("▁", -2.0),
        ("a", -1.0),
        *((f"<0x{b:02X}>", -9.0) for b in range(256)),
    ]
    model = models.Unigram(pieces, unk_id=0, byte_fallback=True)
    decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer = of_a_checkpoint(model, decoder, normalizer=normalizers.Replace(" ", "▁"))
    for text in ("a a", "明 a", "🙂"):
        assert tokenizer.decode(encode_batch(tokenizer, [text])[0]) == text
        assert num_bytes(tokenizer, text) == len(text.encode())


def test_words_count_the_space_that_decoding_puts():
    vocabulary = {"[UNK]": 0, "mill": 1, "##er": 2, "the": 3}
    pieces = models.WordPiece(vocabulary, unk_token="[UNK]")
    split = pre_tokenizers.Whitespace()
    assert bytes_of_ids(of_a_checkpoint(pieces, decoders.WordPiece(), split)).tolist() == [
        6,
        5,
        2,
        4,
    ]
    words = models.WordLevel({"[UNK]": 0, "mill": 1, "the": 2}, unk_token="[UNK]")
    assert bytes_of_ids(of_a_checkpoint(words, None, split)).tolist() == [6, 5, 4]
    suffixed = models.BPE({"a": 0, "b</w>": 1}, [], end_of_word_suffix="</w>")
    assert bytes_of_ids(of_a_checkpoint(suffixed, decoders.BPEDecoder(), split)).tolist() == [1, 2]

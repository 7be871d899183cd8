"""tiktoken gives the tokenizer's own ids, or is not used."""

import json
import random
import string
from pathlib import Path

import grimp
import numpy as np
import pytest
import tiktoken
from conftest import ROOT, small_texts, small_tokenizer
from tokenizers import AddedToken, Regex, Tokenizer, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from wordmill.tokens import fast
from wordmill.tokens.encoding import PlainEncoder
from wordmill.tokens.fast import TiktokenEncoder, best_encoder
from wordmill.tokens.tokenizer import END, PAD

REAL_TEXT = ROOT.parent / "shared/data"
ALPHABETS = (
    string.ascii_letters,
    string.digits + "٣५½Ⅷ²",
    " \t\n\r\x0b\x0c\x85\xa0\u2003\u3000\u200b",
    "中文天地玄黃宇宙洪荒，。「」",
    "áéîõüñ" + "e\u0301o\u0308\u0323",
    "🙂👩‍👩‍👧🏽🇩🇪",
    string.punctuation,
    "\x00\x01\x7f\ufffd\ufeff\U0010ffff",
)
WHOLE = ["'s", "'ll", "don't", "I'VE", END, PAD, "<|between texts|>", "x" * 300, " " * 40, "aaaa"]


def random_text(draw):
    parts = []
    for _ in range(draw.randrange(12)):
        if draw.random() < 0.2:
            parts.append(draw.choice(WHOLE))
        else:
            letters = draw.choice(ALPHABETS)
            parts.append("".join(draw.choice(letters) for _ in range(draw.randrange(1, 9))))
    return "".join(parts)


RANDOM_TEXTS = [random_text(random.Random(seed)) for seed in range(3000)]


@pytest.fixture(scope="module", params=[False, True], ids=["numbers", "digits"])
def tokenizer(request):
    texts = [*small_texts(300, seed=1), *RANDOM_TEXTS[::3]]
    return small_tokenizer(texts, vocab_size=1500, split_digits=request.param)


def assert_same(tokenizer, texts):
    found, wanted = TiktokenEncoder(tokenizer).encode(texts), PlainEncoder(tokenizer).encode(texts)
    for name in ("ids", "starts", "lengths"):
        one, other = getattr(found, name), getattr(wanted, name)
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)


def test_random_texts_have_the_same_ids(tokenizer):
    assert best_encoder(tokenizer, RANDOM_TEXTS[:10]).name == "tiktoken"
    assert_same(tokenizer, RANDOM_TEXTS)


def test_texts_that_are_hard_to_join_have_the_same_ids(tokenizer):
    mark = fast._BETWEEN
    assert_same(tokenizer, [])
    assert_same(tokenizer, ["", "", ""])
    assert_same(tokenizer, [mark, f"a{mark}b", "\x00", mark[:-1], mark[1:], mark * 2])
    assert_same(tokenizer, ["a ", " b", "\n", "\n\n ", " "])


def test_very_long_runs_have_the_same_ids(tokenizer):
    assert_same(tokenizer, ["x" * 100_000, "月" * 30_000, " " * 300_000 + "a", "ab" * 50_000])


@pytest.mark.skipif(not REAL_TEXT.is_dir(), reason="shared/data is not beside the project")
def test_real_texts_have_the_same_ids(tokenizer):
    poems = json.loads((REAL_TEXT / "chinese-poetry/poet.tang.0.json").read_text())
    plays = (REAL_TEXT / "tinyshakespeare/input.txt").read_text()[:200_000]
    texts = ["\n".join(poem["paragraphs"]) for poem in poems][:300]
    assert_same(tokenizer, [*texts, *plays.split("\n\n"), Path(__file__).read_text()])


@pytest.mark.parametrize("letters", [r"\p{L}", r"\p{N}", r"\s"])
def test_both_know_the_same_letters(letters):
    """Each has its own tables of Unicode: of another version, they would cut text apart."""
    planes = (*range(3), 14)
    codes = [c for plane in planes for c in range(plane << 16, (plane + 1) << 16)]
    text = "".join(chr(c) for c in codes if not 0xD800 <= c < 0xE000)
    ranks = {bytes([b]): b for b in range(256)}
    encoding = tiktoken.Encoding("b", pat_str=letters, mergeable_ranks=ranks, special_tokens={})
    matched = encoding.decode(encoding.encode_ordinary(text))  # what does not match is left out
    removed = pre_tokenizers.Split(Regex(letters), "removed")
    parts = (text[start : start + 4096] for start in range(0, len(text), 4096))
    left = {c for part in parts for piece, _ in removed.pre_tokenize_str(part) for c in piece}
    assert set(matched) == set(text) - left


def changed(tokenizer, change):
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    change(backend)
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=END, pad_token=PAD)


def set_normalizer(backend):
    backend.normalizer = normalizers.NFC()


def set_pieces(backend):
    backend.pre_tokenizer = pre_tokenizers.Whitespace()


def add_word(backend):
    backend.add_tokens([AddedToken("miller", normalized=False)])


def swap_merges(backend):
    described = json.loads(backend.to_str())
    described["model"]["merges"].reverse()
    backend.model = Tokenizer.from_str(json.dumps(described)).model


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (set_normalizer, "changes text before"),
        (set_pieces, "split in another way"),
        (add_word, "words that are found before"),
        (swap_merges, "tiktoken gives other ids"),
    ],
)
def test_another_shape_is_left_to_the_tokenizer(tokenizer, change, reason, caplog):
    caplog.set_level("INFO")
    other = changed(tokenizer, change)
    assert best_encoder(other, small_texts(50, seed=2)).name == "tokenizers"
    assert reason in caplog.text


def test_a_pattern_apart_from_its_bytes_is_known(tokenizer):
    def as_others(backend):
        split = pre_tokenizers.Split(Regex(fast.GPT2_PIECES), "isolated")
        to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        backend.pre_tokenizer = pre_tokenizers.Sequence([split, to_bytes])

    assert_same(changed(tokenizer, as_others), RANDOM_TEXTS[:500])


def test_what_generates_needs_neither_tiktoken_nor_pyarrow():
    graph = grimp.build_graph("wordmill", include_external_packages=True)
    needed = graph.find_upstream_modules("wordmill.generation.loading")
    assert not {"tiktoken", "pyarrow"} & needed


def test_without_tiktoken_the_tokenizer_does_it(tokenizer, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setitem(__import__("sys").modules, "tiktoken", None)
    assert best_encoder(tokenizer, ["a"]).name == "tokenizers"
    assert "tiktoken" in caplog.text

"""Words, lines and runs as arrays, against the same done one by one in Python."""

import random
import re
from itertools import pairwise

import numpy as np
import pytest

from wordmill.cleaning.characters import Characters, ngrams

TEXTS = [
    "Hello, don't world... 中文字 x_y 3.14 1,000 os.path end.Start 42!!",
    "",
    " \n \n",
    "one\n\n\ntwo\n  \nthree",
    "HELLO, don't",
    "ends with a word",
    "starts here",
]


def words_of(texts):
    joined, words = "".join(texts), Characters(texts).words
    spans = zip(words.starts, words.lengths, strict=True)
    found = [joined[start : start + length] for start, length in spans]
    borders = words.first_of
    return [found[a:b] for a, b in pairwise(borders)]


def test_words_are_runs_han_characters_and_symbols():
    found = words_of(TEXTS)
    assert found[0] == [
        *["Hello", ",", "don't", "world", "...", "中", "文", "字", "x_y", "3.14", "1,000"],
        *["os.path", "end", ".", "Start", "42", "!!"],
    ]
    assert found[1] == found[2] == []
    # A word does not reach into the next text.
    assert found[-2:] == [["ends", "with", "a", "word"], ["starts", "here"]]


@pytest.mark.parametrize("mark", [".", "'", "_", ","])
def test_no_mark_joins_two_texts(mark):
    assert words_of([f"one{mark}", "two"]) == [["one", mark], ["two"]]
    assert words_of(["one", f"{mark}two"]) == [["one"], [mark, "two"]]


def test_hashes_are_equal_for_equal_words_and_ignore_case():
    words = Characters(TEXTS).words
    hashes = dict(zip((w for one in words_of(TEXTS) for w in one), words.hashes, strict=True))
    assert hashes["Hello"] == hashes["HELLO"]
    distinct = {word.lower() for word in hashes}
    assert len(set(hashes.values())) == len(distinct)


def test_hashes_do_not_depend_on_the_batch():
    alone = Characters(["the miller grinds corn"]).words.hashes
    among = Characters([*TEXTS, "the miller grinds corn"]).words.hashes
    assert alone.tolist() == among[-4:].tolist()


def test_long_words_that_differ_late_differ():
    words = Characters([f"{'a' * 3000}b {'a' * 3000}c {'ab' * 700} {'ba' * 700}"]).words
    assert len(set(words.hashes.tolist())) == 4


def test_lines_and_paragraphs():
    characters, joined = Characters(TEXTS), "".join(TEXTS)

    def spans(kind):
        found = [joined[a:b] for a, b in zip(kind.starts, kind.ends, strict=True)]
        pairs = zip(kind.first_of[:-1], kind.first_of[1:], strict=True)
        return [found[a:b] for a, b in pairs]

    assert spans(characters.lines)[3] == ["one", "two", "three"]
    assert spans(characters.lines)[2] == []
    assert spans(characters.paragraphs)[3] == ["one", "two\n  \nthree"]


def test_runs_of_words_stay_inside_their_text():
    draw = random.Random(1)
    texts = [" ".join(draw.choices("abcd", k=draw.randint(0, 12))) for _ in range(50)]
    words = Characters(texts).words
    for size in (1, 2, 5):
        found = ngrams(words, size)
        wanted = [
            tuple(t.split()[i : i + size]) for t in texts for i in range(len(t.split()) - size + 1)
        ]
        assert len(found.hashes) == len(wanted)
        by_hash = {}
        for run, value in zip(wanted, found.hashes.tolist(), strict=True):
            assert by_hash.setdefault(value, run) == run


def test_counts_of_classes():
    characters = Characters(["a1 中!", "", "\x00\u200b"])
    from wordmill.cleaning import character_table as module

    assert characters.count_class(module.LETTER).tolist() == [2, 0, 0]
    assert characters.count_class(module.HAN).tolist() == [1, 0, 0]
    assert characters.count_class(module.CONTROL).tolist() == [0, 0, 2]
    assert characters.lengths.tolist() == [5, 0, 2]


def test_random_unicode_never_breaks_it():
    draw = random.Random(2)
    alphabet = "ab '’.,_-\n\t 中文かな한글éß😀\u200d\u0301\U00020000\U0010ffff٣"
    for _ in range(200):
        texts = ["".join(draw.choices(alphabet, k=draw.randint(0, 9))) for _ in range(4)]
        characters = Characters(texts)
        words = characters.words
        assert len(words.hashes) == len(words.starts) == len(words.lengths) == words.counts.sum()
        assert (words.lengths > 0).all()
        for text, lines in zip(texts, np.diff(characters.lines.first_of), strict=True):
            assert lines == sum(bool(re.sub(r"\s", "", line)) for line in text.split("\n"))

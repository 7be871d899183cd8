"""Quality rules against the same rules written one document at a time."""

import random
from collections import Counter

import numpy as np
import pytest
from conftest import params_of

from wordmill.cleaning.characters import Characters
from wordmill.cleaning.language import languages
from wordmill.cleaning.quality import (
    c4_verdicts,
    fineweb_verdicts,
    gopher_verdicts,
    letter_verdicts,
)
from wordmill.cleaning.repetition import repetition_verdicts
from wordmill.cleaning.web_words import web_words

QUALITY = params_of("clean").quality
PROSE = (
    "The miller of the old town had a mill by the river, and people came to him with their corn."
    " He was known to be honest, and that was rare among the millers of his time.\n"
    "When the water was low he would sit at the door and talk with whoever passed. In winter the"
    " wheel froze, and he carved spoons to have something to sell at the market in spring.\n"
)


def of(texts):
    characters = Characters(texts)
    return characters, web_words(characters)


def repeated_by_hand(text):
    """Gopher's repetition figures, straight from the paper's table, on words split by space."""
    words, figures = text.split(), {}
    for size in (2, 3, 4):
        runs = [tuple(words[i : i + size]) for i in range(len(words) - size + 1)]
        counts = Counter(runs)
        best = next((run for run in runs if counts[run] == max(counts.values())), None)
        again = best is not None and counts[best] > 1
        figures[f"top_{size}_gram"] = counts[best] * len(" ".join(best)) if again else 0
    for size in range(5, 11):
        seen, place, total = set(), 0, 0
        while place <= len(words) - size:
            run = tuple(words[place : place + size])
            if run in seen:
                total += len("".join(run))
                place += size
            else:
                seen.add(run)
                place += 1
        figures[f"duplicate_{size}_grams"] = total
    return figures


def test_repetition_agrees_with_the_definition():
    draw = random.Random(3)
    texts = [
        " ".join(draw.choices(["mill", "corn", "a", "river", "wheel"][: draw.randint(2, 5)], k=k))
        for k in draw.choices(range(1, 80), k=200)
    ]
    found = dict(repetition_verdicts(*of(texts), QUALITY.gopher_repetition))
    limits = [*QUALITY.gopher_repetition.max_top_ngram_chars]
    limits += QUALITY.gopher_repetition.max_duplicate_ngram_chars
    for place, text in enumerate(texts):
        figures = repeated_by_hand(text)
        for (name, figure), limit in zip(figures.items(), limits, strict=True):
            assert found[f"gopher_{name}"][place] == (figure > limit * len(text)), (name, text)
    assert all(0 < found[f"gopher_{name}"].sum() < len(texts) for name in figures)


def test_repeated_lines_and_paragraphs():
    texts = ["a b c\n" * 3 + "d e f\ng h i", "one line\n\nsame\n\nsame\n\nsame", PROSE]
    found = dict(repetition_verdicts(*of(texts), QUALITY.gopher_repetition))
    assert found["gopher_duplicate_lines"].tolist() == [True, True, False]
    assert found["gopher_duplicate_paragraphs"].tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("gopher_few_words", "Too short to be a text."),
        ("gopher_short_words", "a b c " * 40 + PROSE[:100]),
        ("gopher_long_words", "incomprehensibilities uncharacteristically the of " * 20),
        ("gopher_hashes", PROSE + "# " * 30),
        ("gopher_ellipses", PROSE + "well ... " * 20),
        ("gopher_bullets", "\n".join(f"- {line}" for line in PROSE.split(" ")[:60])),
        ("gopher_ellipsis_lines", PROSE + "and so on...\n" * 3),
        ("gopher_few_alphabetic", PROSE + "1 2 3 " * 30),
        ("gopher_few_stop_words", "miller town mill river people corn honest rare time " * 8),
    ],
)
def test_gopher_drops(reason, text):
    texts = [PROSE, text]
    found = dict(gopher_verdicts(texts, ["en", "en"], *of(texts), QUALITY.gopher))
    assert not found[reason][0]
    assert found[reason][1]


def test_gopher_knows_chinese():
    prose = "秦川的磨坊在河边，人们都带着粮食来找他。他是一个诚实的人，在那个时候这是不多见的。" * 3
    names = "張王李趙錢孫周吳鄭馮陳褚衛蔣沈韓楊朱秦尤許何呂施" * 4
    texts = [prose, names]
    found = dict(gopher_verdicts(texts, ["zh", "zh"], *of(texts), QUALITY.gopher))
    assert [reason for reason, against in found.items() if against[0]] == []
    assert found["gopher_few_stop_words"][1]


def test_prose_passes_every_rule():
    texts = [PROSE]
    characters, words = of(texts)
    verdicts = [
        *letter_verdicts(characters, min_letters=QUALITY.min_letters),
        *repetition_verdicts(characters, words, QUALITY.gopher_repetition),
        *gopher_verdicts(texts, ["en"], characters, words, QUALITY.gopher),
        *fineweb_verdicts(characters, words, QUALITY.fineweb),
    ]
    assert [reason for reason, against in verdicts if against.any()] == []


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("fineweb_line_ends", "home\nabout us\nour products\ncontact\nimprint\nthe end\nx\ny\nz"),
        (
            "fineweb_short_lines",
            "Short.\nLines.\nAll of them.\nThis one is longer than thirty characters.",
        ),
        ("fineweb_duplicate_lines", "The same line.\nThe same line.\nAnother line."),
        ("fineweb_newlines", "one\ntwo\nthree\nfour."),
    ],
)
def test_fineweb_drops(reason, text):
    assert dict(fineweb_verdicts(*of([text]), QUALITY.fineweb))[reason][0]


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("c4_lorem_ipsum", "Lorem ipsum dolor. A. B. C. D."),
        ("c4_brace", "function () { }"),
        ("c4_few_sentences", "One. Two! Three?"),
    ],
)
def test_c4_drops(reason, text):
    assert dict(c4_verdicts([text], QUALITY.c4))[reason][0]


def test_no_rule_breaks_on_empty_and_odd_texts():
    texts = ["", "\n", "😀", "a", "\u0301", "中"]
    characters, words = of(texts)
    for _, against in (
        *letter_verdicts(characters, min_letters=0.5),
        *repetition_verdicts(characters, words, QUALITY.gopher_repetition),
        *gopher_verdicts(texts, ["und"] * 6, characters, words, QUALITY.gopher),
        *c4_verdicts(texts, QUALITY.c4),
        *fineweb_verdicts(characters, words, QUALITY.fineweb),
    ):
        assert against.shape == (6,)
        assert against.dtype == np.bool_


def test_a_batch_of_one_character_breaks_nothing():
    for text in (".", "a", "中", "…"):
        verdicts = dict(gopher_verdicts([text], ["en"], *of([text]), QUALITY.gopher))
        assert verdicts["gopher_few_words"][0]


def test_languages_are_told_offline():
    texts = [
        PROSE,
        "Der Müller des alten Ortes hatte eine Mühle am Fluss, und die Leute kamen zu ihm.",
        "Le meunier de la vieille ville avait un moulin au bord de la rivière.",
        "秦川雄帝宅，函谷壯皇居。",
        "磨坊主在河边有一座磨坊。",
        "これは日本語の文章です。水車小屋の主人。",
        "이것은 한국어 문장입니다.",
        "",
        "12345",
    ]
    found = languages(texts, Characters(texts), min_confidence=0.5)
    assert found == ["en", "de", "fr", "zh", "zh", "ja", "ko", "und", "und"]

"""Which documents read like text: the rules of Gopher, C4 and FineWeb over a whole batch.

Each rule gives a reason and the documents it is against. Deviations from the papers' code:
stop words count in upper case too and in the document's own language, and rules about word
lengths and stop words leave out languages that they were not made for.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from wordmill.cleaning.character_table import DIGIT, HAN, HANGUL, KANA, LETTER, SPACE, Hashes
from wordmill.cleaning.characters import Bools, Characters, Counts, Words, sums
from wordmill.cleaning.stop_words import STOP_WORDS
from wordmill.params.clean import C4Params, FineWebParams, GopherQualityParams

Verdict = tuple[str, Bools]
"""A reason and the documents it is against, shape (texts,)."""

# Sentence-final marks of European, Chinese, Japanese, Arabic and Indian writing.
TERMINALS = ".!?‼⁇⁈⁉。．！？｡؟۔।॥"
_SENTENCE_END = re.compile(rf"[{re.escape(TERMINALS)}][\"'”’」』)]*(?:\s|$)|[。！？]")
_BULLETS = "•-*‣◦·"
_WITHOUT_SPACES = HAN | KANA | HANGUL


def letter_verdicts(characters: Characters, *, min_letters: float) -> Iterator[Verdict]:
    """Documents that are mostly something else than letters."""
    seen = characters.lengths - characters.count_class(SPACE)
    letters = characters.count_class(LETTER)
    yield "few_letters", letters < min_letters * np.maximum(seen, 1)


def gopher_verdicts(
    texts: list[str],
    languages: list[str],
    characters: Characters,
    words: Words,
    params: GopherQualityParams,
) -> Iterator[Verdict]:
    """Gopher's quality rules (https://arxiv.org/abs/2112.11446, appendix A1.1).

    Args:
        texts: the batch.
        languages: ISO 639-1 code of each.
        characters: of the batch.
        words: of the batch, as `web_words` counts them.
        params: the thresholds.
    """
    num_text = _per_text(~words.is_symbol, words.first_of)
    yield "gopher_few_words", num_text < params.min_words
    yield "gopher_many_words", num_text > params.max_words

    total_chars = _per_text(np.where(words.is_symbol, 0, words.lengths), words.first_of)
    mean_chars = total_chars / np.maximum(num_text, 1)
    has_spaces = _has_spaces(characters)
    yield "gopher_short_words", has_spaces & (mean_chars < params.min_mean_word_chars)
    yield "gopher_long_words", has_spaces & (mean_chars > params.max_mean_word_chars)

    num_words = np.maximum(words.counts, 1)
    hashes, ellipses = (_counted(texts, marks) for marks in (("#",), ("...", "…")))
    yield "gopher_hashes", hashes > params.max_hashes_a_word * num_words
    yield "gopher_ellipses", ellipses > params.max_ellipses_a_word * num_words

    bullets, trailing = _line_counts(characters)
    num_lines = characters.count(characters.codes == 0x0A) + 1
    yield "gopher_bullets", bullets > params.max_bullet_lines * num_lines
    yield "gopher_ellipsis_lines", trailing > params.max_ellipsis_lines * num_lines

    alphabetic = _per_text(words.has_letter, words.first_of)
    # Chinese has a mark for every few characters, each of them a word.
    among = np.where(has_spaces, words.counts, num_text)
    yield "gopher_few_alphabetic", alphabetic < params.min_alphabetic_words * among
    few = _num_stop_words(words, languages) < params.min_stop_words
    yield "gopher_few_stop_words", few & np.isin(languages, list(STOP_WORDS))


def c4_verdicts(texts: list[str], params: C4Params) -> Iterator[Verdict]:
    """C4's rules about pages (https://arxiv.org/abs/1910.10683, section 2.2)."""
    lowered = [text.lower() for text in texts]
    yield "c4_lorem_ipsum", np.array(["lorem ipsum" in text for text in lowered], dtype=bool)
    if params.is_brace_dropped:
        yield "c4_brace", np.array(["{" in text for text in texts], dtype=bool)
    sentences = np.array([len(_SENTENCE_END.findall(text)) for text in texts], dtype=np.int64)
    yield "c4_few_sentences", sentences < params.min_sentences


def fineweb_verdicts(
    characters: Characters, words: Words, params: FineWebParams
) -> Iterator[Verdict]:
    """FineWeb's own rules (https://arxiv.org/abs/2406.17557, section 3.6); see Gopher's."""
    lines = characters.lines
    num_lines = np.maximum(np.diff(lines.first_of), 1)
    last = characters.codes[lines.ends - 1]
    ended = _per_text(np.isin(last, [ord(mark) for mark in TERMINALS]), lines.first_of)
    yield "fineweb_line_ends", ended < params.min_line_ends * num_lines

    lengths = lines.ends - lines.starts
    short = _per_text(lengths <= params.short_line_chars, lines.first_of)
    yield "fineweb_short_lines", short > params.max_short_lines * num_lines

    is_break = characters.codes == 0x0A
    breaks = characters.count(is_break)
    repeated = np.where(repeats(lines.hashes, lines.text_of), lengths, 0)
    share = _per_text(repeated, lines.first_of) / np.maximum(characters.lengths - breaks, 1)
    yield "fineweb_duplicate_lines", share > params.max_duplicate_line_chars
    yield "fineweb_newlines", breaks > params.max_newlines_a_word * words.counts


def repeats(hashes: Hashes, text_of: Counts) -> Bools:
    """Which items have an equal one before them in the same text, shape (items,)."""
    order = np.lexsort((hashes, text_of))  # stable: the first of equals stays first
    same = hashes[order][1:] == hashes[order][:-1]
    same &= text_of[order][1:] == text_of[order][:-1]
    found = np.zeros(len(hashes), dtype=np.bool_)
    found[order[1:][same]] = True
    return found


def _per_text(values: Counts | Bools, first_of: Counts) -> Counts:
    return sums(values, first_of)


def _has_spaces(characters: Characters) -> Bools:
    if characters.is_western:
        return np.ones(len(characters.lengths), dtype=np.bool_)
    without = characters.count_class(_WITHOUT_SPACES)
    return without < 0.3 * np.maximum(characters.count_class(LETTER | DIGIT), 1)


def _counted(texts: list[str], marks: tuple[str, ...]) -> Counts:
    return np.array([sum(map(text.count, marks)) for text in texts], dtype=np.int64)


def _line_counts(characters: Characters) -> tuple[Counts, Counts]:
    """Lines of each text that start as a list's, and lines that end in an ellipsis."""
    lines, codes = characters.lines, characters.codes
    if len(lines.starts) == 0:
        return np.diff(lines.first_of), np.diff(lines.first_of)
    seen = np.flatnonzero(characters.is_seen)
    first = seen[np.searchsorted(seen, lines.starts)]
    last = seen[np.searchsorted(seen, lines.ends) - 1]
    is_bullet = np.isin(codes[first], [ord(mark) for mark in _BULLETS])
    is_dots = last - 2 >= lines.starts
    for back in range(3):
        is_dots &= codes[np.maximum(last - back, 0)] == ord(".")
    is_trailing = is_dots | (codes[last] == ord("…"))
    return _per_text(is_bullet, lines.first_of), _per_text(is_trailing, lines.first_of)


def _num_stop_words(words: Words, languages: list[str]) -> Counts:
    """How many different stop words of its language each text has."""
    found = np.zeros(len(languages), dtype=np.int64)
    for language in set(languages) & set(STOP_WORDS):
        is_written_in = np.array([one == language for one in languages])
        for word in _stop_word_hashes(language):
            found += is_written_in & (_per_text(words.hashes == word, words.first_of) > 0)
    return found


@lru_cache(maxsize=64)
def _stop_word_hashes(language: str) -> Hashes:
    return Characters([" ".join(STOP_WORDS[language])]).words.hashes

"""Words as the published quality rules count them, for a whole batch.

The thresholds of Gopher and FineWeb are applied to the words of spaCy's English tokenizer,
whose marks of punctuation are words of their own: marks are split off both ends of what stands
between spaces, a few split it inside, contractions come apart (`do|n't`). These are its rules
over arrays. Left out: its lists of abbreviations and emoticons, units after digits, addresses.
Of the documents that pass the rules with spaCy itself 99 in 100 pass with these (docs/log.md). Han
characters are one word each.
"""

import unicodedata
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from wordmill.cleaning.character_table import DIGIT, HAN, LETTER
from wordmill.cleaning.characters import Bools, Characters, Words, counted_before, places_of, sums

# What is split off the start and the end of a chunk between spaces.
_MARKS = "…,:;!?¿¡()[]{}<>_#*&。？！，、；：～·'\"”“`‘´’‚„»«「」『』（）〔〕【】《》〈〉"
_AT_START = _MARKS + "§%=—–+$£€¥"
_AT_END = _MARKS + "—–%"
_DASHES = "-–—~"
_APOSTROPHES = "'’"
_START, _END, _DASH, _APOSTROPHE, _JOINER, _PUNCTUATION = (1 << bit for bit in range(6))
_TABLE_SIZE = 0x3100


def web_words(characters: Characters) -> Words:
    """The words of all texts; `is_symbol` are those of punctuation alone."""
    codes, classes = characters.codes, characters.classes
    is_seen = characters.is_seen
    if not is_seen.any():
        return Words(characters, np.empty(0, np.int64), is_seen, is_symbol=np.empty(0, np.bool_))
    marks = _marks()[np.minimum(codes, _TABLE_SIZE)]
    is_letter, is_digit = (classes & LETTER) != 0, (classes & DIGIT) != 0
    is_han = (classes & HAN) != 0
    near = _Near(characters)
    is_dot = codes == ord(".")
    is_dots = is_dot & (near.after(is_dot) | near.before(is_dot))

    chunks = _Chunks(is_seen, near)
    # A final full stop, but not of an initial (J.) or inside an abbreviation (e.g.).
    is_stop = is_dot & ~near.before(is_letter & ~near.before(is_letter))
    edges = chunks.edges((marks & _START) != 0, is_stop | ((marks & _END) != 0))
    is_alone = is_han | is_dots | edges

    is_lower = is_letter & ~characters.is_upper
    is_alnum = is_letter | is_digit
    before_letter = near.before(is_alnum) & near.after(is_letter)
    splits = ((marks & (_DASH | _JOINER)) != 0) & before_letter
    splits |= (codes == ord(",")) & near.before(is_letter) & near.after(is_letter)
    splits |= is_dot & near.before(is_lower) & near.after(is_letter & ~is_lower)
    splits |= ((marks & _DASH) != 0) & near.before(is_digit) & near.after(is_digit)
    splits[chunks.addresses(codes, is_letter)] = False
    is_alone |= splits

    starts = chunks.opens | is_alone | (near.before(is_alone) & is_seen)
    starts[is_dots & near.before(is_dots)] = False
    # `foo():` ends in what the tokenizer takes for an emoticon: one word.
    colon_after = (codes == ord(":")) & near.before(codes == ord(")"))
    starts[colon_after & ~near.after(is_seen)] = False
    # It's, we'll: the apostrophe opens a word; don't: the n before it does.
    contracts = ((marks & _APOSTROPHE) != 0) & near.before(is_letter) & near.after(is_letter)
    is_n = (codes | 0x20) == ord("n")
    is_t = (codes | 0x20) == ord("t")
    negates = contracts & near.before(is_n) & near.after(is_t)
    starts[contracts & ~negates] = True
    starts[:-1] |= negates[1:]

    places = np.flatnonzero(starts)
    is_text = np.logical_or.reduceat(is_seen & ((marks & _PUNCTUATION) == 0), places)
    return Words(characters, places, is_seen, is_symbol=~is_text)


class _Near:
    """Looks at the character before and after each, inside its text."""

    def __init__(self, characters: Characters) -> None:
        self.is_first = np.zeros(len(characters.codes), dtype=np.bool_)
        self.is_first[characters.starts[:-1][characters.lengths > 0]] = True

    def before(self, chosen: Bools) -> Bools:
        found = np.zeros_like(chosen)
        found[1:] = chosen[:-1]
        found[self.is_first] = False
        return found

    def after(self, chosen: Bools) -> Bools:
        found = np.zeros_like(chosen)
        found[:-1] = chosen[1:] & ~self.is_first[1:]
        return found


class _Chunks:
    """What stands between spaces."""

    def __init__(self, is_seen: Bools, near: _Near) -> None:
        self.is_seen = is_seen
        self.opens = is_seen & ~near.before(is_seen)
        self.starts = np.flatnonzero(self.opens)
        self.ends = np.flatnonzero(is_seen & ~near.after(is_seen)) + 1

    def edges(self, at_start: Bools, at_end: Bools) -> Bools:
        """Marks before the first and after the last other character of each chunk."""
        size = len(at_start)
        found = np.zeros(size, dtype=np.bool_)
        is_other = self.is_seen & ~at_start
        others = np.append(np.flatnonzero(is_other), size)
        self.cores = np.minimum(others[counted_before(is_other)[self.starts]], self.ends)
        is_other = self.is_seen & ~at_end
        others = np.append(-1, np.flatnonzero(is_other))
        last = others[counted_before(is_other)[self.ends]]
        found[places_of(self.starts, self.cores)] = True
        found[places_of(np.maximum(last + 1, self.starts), self.ends)] = True
        return found

    def addresses(self, codes: NDArray[np.uint32], is_letter: Bools) -> NDArray[np.int64]:
        """Where the characters stand of chunks that are addresses: letters, then `://`."""
        colons = np.flatnonzero(codes[:-2] == ord(":"))
        is_slash = codes == ord("/")
        colons = colons[is_slash[colons + 1] & is_slash[colons + 2]]
        chunks = np.searchsorted(self.starts, colons, side="right") - 1
        is_scheme = sums(is_letter, self.cores[chunks], colons) == colons - self.cores[chunks]
        chosen = np.unique(chunks[is_scheme])
        return places_of(self.starts[chosen], self.ends[chosen])


@lru_cache(maxsize=1)
def _marks() -> NDArray[np.uint8]:
    table = np.zeros(_TABLE_SIZE + 1, dtype=np.uint8)
    for code in range(_TABLE_SIZE):
        character = chr(code)
        category = unicodedata.category(character)
        is_icon = category == "So"
        table[code] |= _START if character in _AT_START or is_icon else 0
        table[code] |= _END if character in _AT_END or is_icon else 0
        table[code] |= _DASH if character in _DASHES else 0
        table[code] |= _JOINER if character in ":<>=/" else 0
        table[code] |= _APOSTROPHE if character in _APOSTROPHES else 0
        is_ascii_symbol = code < 0x80 and category[0] in "PS"
        table[code] |= _PUNCTUATION if category[0] == "P" or is_ascii_symbol else 0
    return table

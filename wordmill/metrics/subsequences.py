"""The longest common subsequence of two lists of words, by bits of Python's integers.

A column of the usual table is one number: bit i is 0 where the length grows between the first
i and the first i + 1 words of the wanted text. A word of the other text makes the next column
with one sum. Crochemore et al. 2001 (https://doi.org/10.1016/S0020-0190(00)00214-X), in the
form of Hyyrö 2004.
"""

from collections.abc import Iterable, Iterator, Sequence

Places = dict[str, int]


def places_of(words: Sequence[str]) -> Places:
    """Where each word stands: bit i for place i."""
    places: Places = {}
    for place, word in enumerate(words):
        places[word] = places.get(word, 0) | 1 << place
    return places


def common_length(wanted: Sequence[str], predicted: Iterable[str]) -> int:
    """How many words the longest common subsequence has."""
    return len(wanted) - _columns(len(wanted), places_of(wanted), predicted)[-1].bit_count()


def common_places(wanted: Sequence[str], places: Places, predicted: Sequence[str]) -> Iterator[int]:
    """The places in `wanted` of one longest common subsequence, from the last.

    Of several it is rouge-score's: from the ends of both texts, equal words are taken, else the
    predicted text is shortened where only the wanted one's next word adds to the length.

    Args:
        wanted: words.
        places: of `wanted`.
        predicted: words.
    """
    columns = _columns(len(wanted), places, predicted)
    i, j = len(wanted), len(predicted)
    while i and j:
        if wanted[i - 1] == predicted[j - 1]:
            i, j = i - 1, j - 1
            yield i
        elif columns[j] >> (i - 1) & 1:
            i -= 1
        else:
            j -= 1


def _columns(num_wanted: int, places: Places, predicted: Iterable[str]) -> list[int]:
    """The column before the first predicted word and those after each."""
    column = full = (1 << num_wanted) - 1
    columns = [column]
    for word in predicted:
        matched = column & places.get(word, 0)
        if matched:
            column = (column + matched | column - matched) & full
        columns.append(column)
    return columns

"""Changed copies of training pairs: easy data augmentation (https://arxiv.org/abs/1901.11196).

Only sources change; what is wanted stays. A copy is a function of the seed and the pair's id,
so it is the same whatever stands around it.
"""

import math
import random
import re
from collections.abc import Iterator
from typing import TypeAlias

from wordmill.data.records import Pair, content_id
from wordmill.params.clean import AugmentParams

Synonyms: TypeAlias = dict[str, tuple[str, ...]]

# Words keep the space before them, so that joining them gives the text back. Han characters
# change one by one.
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_PIECE = re.compile(r"\s*(?:[\u3400-\u9fff\uf900-\ufaff]|[^\s\u3400-\u9fff\uf900-\ufaff]+)|\s+$")


def augmented(
    pair: Pair, params: AugmentParams, *, synonyms: Synonyms, seed: int
) -> Iterator[Pair]:
    """Yield the changed copies of a pair that differ from it.

    Args:
        pair: of the training split.
        params: how many copies and how they differ.
        synonyms: words that may stand for a word, in lower case.
        seed: of the draws.
    """
    seen = {pair.source}
    for copy in range(params.copies):
        draw = random.Random(f"{seed} {pair.id} {copy}")
        operation = draw.choice(params.operations)
        pieces = _PIECE.findall(pair.source)
        changes = math.ceil(params.change_fraction * len(pieces))
        for _ in range(changes):
            _OPERATIONS[operation](pieces, draw, synonyms)
        source = "".join(pieces).strip()
        if source and source not in seen:
            seen.add(source)
            new_id = content_id(pair.task, source, pair.ask, pair.target)
            yield pair._replace(
                id=new_id, source=source, metadata=f'{{"augmented": "{operation}"}}'
            )


def read_synonyms(groups: tuple[str, ...]) -> Synonyms:
    """From lines of words that stand for one another to each word's others."""
    found: dict[str, list[str]] = {}
    for group in groups:
        words = re.split(r"[\s,;]+", group)
        for word in words:
            found.setdefault(word.lower(), []).extend(other for other in words if other != word)
    return {word: tuple(others) for word, others in found.items()}


def _replace(pieces: list[str], draw: random.Random, synonyms: Synonyms) -> None:
    known = [place for place, piece in enumerate(pieces) if piece.strip().lower() in synonyms]
    if known:
        place = draw.choice(known)
        word = draw.choice(synonyms[pieces[place].strip().lower()])
        pieces[place] = _space(pieces[place]) + word


def _insert(pieces: list[str], draw: random.Random, synonyms: Synonyms) -> None:
    known = [piece for piece in pieces if piece.strip().lower() in synonyms]
    if known:
        word = draw.choice(synonyms[draw.choice(known).strip().lower()])
        space = "" if _HAN.match(word) else " "
        pieces.insert(draw.randint(1, len(pieces)), space + word)


def _delete(pieces: list[str], draw: random.Random, _: Synonyms) -> None:
    if len(pieces) > 1:
        del pieces[draw.randrange(len(pieces))]


def _swap(pieces: list[str], draw: random.Random, _: Synonyms) -> None:
    if len(pieces) > 1:
        one, other = draw.sample(range(len(pieces)), 2)
        words = pieces[one].strip(), pieces[other].strip()
        pieces[one], pieces[other] = (
            _space(pieces[one]) + words[1],
            _space(pieces[other]) + words[0],
        )


def _space(piece: str) -> str:
    """The space that a piece starts with."""
    return piece[: len(piece) - len(piece.lstrip())]


_OPERATIONS = {"synonym": _replace, "insert": _insert, "delete": _delete, "swap": _swap}

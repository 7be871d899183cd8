"""Word vectors as the start of an embedding: the text forms of word2vec and GloVe.

The file is read line by line, and only vectors of tokens are kept: 400,000 words take a pass over
the file and no more memory than the embedding.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from wordmill.errors import DataError, ParamsError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerFast

log = logging.getLogger(__name__)

_NOT_TEXT = "\ufffd"  # what a part of a character decodes to


class _Line(NamedTuple):
    number: int
    """From 1, as editors count."""
    text: str


def start_from_word_vectors(
    embedding: Tensor, path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Set the rows of all tokens that are words of a file to the vectors of these words.

    A token, less the space before it, is looked up as it is, else lower-cased.

    Args:
        embedding: (V or more, E), changed in place.
        path: word2vec's text form, which begins with a line "count size", or GloVe's.
        tokenizer: of the model.

    Raises:
        ParamsError: the vectors are not of size E.
        DataError: the file is missing or has a line that is no word with its numbers.
    """
    tokens = _tokens_as_words(tokenizer)
    wanted = {*tokens.values(), *(word.lower() for word in tokens.values())}
    vectors = _read(path, wanted, size=embedding.shape[1])
    words = {i: word if word in vectors else word.lower() for i, word in tokens.items()}
    found = {i: vectors[word] for i, word in words.items() if word in vectors}
    if found:
        with torch.no_grad():
            rows = torch.from_numpy(np.stack(list(found.values())))
            embedding[list(found)] = rows.to(embedding)
    log.info("%s: vectors for %d of %d tokens", path, len(found), len(tokens))


def _tokens_as_words(tokenizer: PreTrainedTokenizerFast) -> dict[int, str]:
    """What each token says without the space before it; special tokens say nothing."""
    ids = sorted(set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids))
    backend = tokenizer.backend_tokenizer
    texts = [text.strip() for text in backend.decode_batch([[i] for i in ids])]
    return {i: text for i, text in zip(ids, texts, strict=True) if text and _NOT_TEXT not in text}


def _read(path: Path, wanted: set[str], *, size: int) -> dict[str, NDArray[np.float32]]:
    try:
        with path.open("rb") as file:
            lines = (_Line(n, _decoded(path, n, raw)) for n, raw in enumerate(file, 1))
            return _vectors(path, lines, wanted, size=size)
    except OSError as error:
        raise DataError(f"model.lstm.word_vectors: {path}: {error.strerror}") from None


def _vectors(
    path: Path, lines: Iterator[_Line], wanted: set[str], *, size: int
) -> dict[str, NDArray[np.float32]]:
    first = next(lines, None)
    if first is None:
        raise DataError(f"{path}: the file is empty")
    fields = first.text.split(" ")
    is_header = len(fields) == 2 and all(field.isdecimal() for field in fields)
    file_size = int(fields[1]) if is_header else len(fields) - 1
    if file_size != size:
        raise ParamsError(
            f"model.lstm.word_vectors: {path} has vectors of size {file_size}, but"
            f" model.lstm.embedding_size is {size}; make them equal"
        )
    found: dict[str, NDArray[np.float32]] = {}
    num_words = 0
    if not is_header:
        lines = _before(first, lines)
    for line in lines:
        # From the right: a few words of GloVe's have a space in them.
        word, *numbers = line.text.rsplit(" ", size)
        if len(numbers) != size:
            raise _bad_line(path, line.number, f"{len(numbers)} numbers instead of {size}")
        if word in wanted and word not in found:
            found[word] = _vector(path, line.number, numbers)
        num_words += 1
    if is_header and num_words != int(fields[0]):
        raise DataError(f"{path}: the first line promises {fields[0]} words, {num_words} are there")
    return found


def _before(first: _Line, others: Iterator[_Line]) -> Iterator[_Line]:
    yield first
    yield from others


def _vector(path: Path, number: int, fields: list[str]) -> NDArray[np.float32]:
    try:
        vector = np.array(fields, dtype=np.float32)
    except ValueError as error:
        raise _bad_line(path, number, str(error)) from None
    if not np.isfinite(vector).all():
        raise _bad_line(path, number, "a number that is not finite")
    return vector


def _decoded(path: Path, number: int, raw: bytes) -> str:
    try:
        return raw.decode().rstrip(" \r\n")
    except UnicodeDecodeError:
        raise _bad_line(path, number, "not UTF-8; word2vec's binary form is not read") from None


def _bad_line(path: Path, number: int, reason: str) -> DataError:
    return DataError(f"{path}, line {number}: {reason}; a line is a word and its numbers")

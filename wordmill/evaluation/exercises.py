"""What systems are asked on held-out records: the pairs, and documents to go on with.

A draft is the beginning of a held-out document, as many tokens as a context leaves room for but
half of the document at most; what is wanted is what stands behind it. There is no one right way
to go on: the scores of drafts say how near a system came, how varied it is and how new.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from wordmill.tokens.tokenizer import encode_batch, is_backward, texts_of_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedTokenizerFast

    from wordmill.data.records import Document, Pair
    from wordmill.tasks import Task

_MIN_TOKENS = 8
"""Of a draft's beginning, and of what is wanted."""


class Exercise(NamedTuple):
    """A request and the answer wanted."""

    id: str
    """Of its record."""
    task: Task
    source: str
    ask: str
    target: str
    language: str
    origin: str


def of_pairs(pairs: Sequence[Pair]) -> list[Exercise]:
    """The pairs as they are."""
    return [Exercise(p.id, p.task, p.source, p.ask, p.target, p.language, p.origin) for p in pairs]


def drafts(
    documents: Sequence[Document],
    tokenizer: PreTrainedTokenizerFast,
    *,
    count: int,
    source_tokens: int,
    target_tokens: int,
) -> list[Exercise]:
    """The beginnings of some documents; their ends, where the tokenizer runs backwards.

    Args:
        documents: held out.
        tokenizer: of the models.
        count: at most, from the first of the documents on.
        source_tokens: given at most.
        target_tokens: wanted at most.
    """
    found: list[Exercise] = []
    for document in documents:
        if len(found) == count:
            break
        (ids,) = encode_batch(tokenizer, [document.text])
        num_given = min(source_tokens, len(ids) // 2)
        if num_given < _MIN_TOKENS:
            continue
        parts = [ids[:num_given], ids[num_given : num_given + target_tokens]]
        given, wanted = texts_of_ids(tokenizer, parts)
        # A token may end within a character; the text between two characters is whole.
        if "\ufffd" in given:
            continue
        found.append(
            Exercise(
                document.id,
                "write",
                given.lstrip() if is_backward(tokenizer) else given.rstrip(),
                "",
                wanted.strip("\ufffd \n"),
                document.language,
                document.origin,
            )
        )
    return found

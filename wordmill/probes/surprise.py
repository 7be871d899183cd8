"""How unlikely each piece of a text was to a model: -ln p in nats, given all before it.

A piece is a token, or the tokens of one character together; their nats add up to those of the
whole text. The end token has no text and is left out, so they sum to the document's negative
log-likelihood less that of its end.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from wordmill.probes.log_probabilities import Text, log_probabilities
from wordmill.probes.pieces import encoded, text_pieces
from wordmill.tokens.tokenizer import end_id

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from wordmill.data.records import Document
    from wordmill.models.folder import Model
    from wordmill.report.record import Surprise

_MIN_CHARS = 80  # a shorter text shows little
_MAX_CANDIDATES = 32
_MAX_LANGUAGES = 3
_DIGITS = 4


def surprises(
    model: Model,
    tokenizer: PreTrainedTokenizerFast,
    documents: list[Document],
    *,
    system: str,
    count: int,
    max_chars: int,
    context_tokens: int,
    batch_size: int,
) -> list[Surprise]:
    """The least surprising document, the most surprising one and some between, of each language.

    Documents of 80 to `max_chars` characters are looked at, 32 of each language, those with the
    lowest ids; where there is none, the beginnings of others are. Three languages at most, those
    of the most documents.

    Args:
        model: any model.
        tokenizer: the model's own.
        documents: held out.
        system: the model's name in the result.
        count: of each language, at most.
        max_chars: the longest text shown.
        context_tokens: the most tokens that the model takes.
        batch_size: texts at once.
    """
    found: list[Surprise] = []
    for some in _by_language(documents):
        scored = [
            surprise
            for document in _candidates(some, max_chars=max_chars)
            if (surprise := _unscored(document, system, max_chars))
        ]
        _score(scored, model, tokenizer, context_tokens=context_tokens, batch_size=batch_size)
        scored = [surprise for surprise in scored if surprise["nats"]]  # some texts have no token
        scored.sort(key=lambda surprise: sum(surprise["nats"]) / len("".join(surprise["pieces"])))
        places = np.unique(np.linspace(0, len(scored) - 1, min(count, len(scored))).round())
        found += [scored[int(place)] for place in places]
    return found


def _by_language(documents: list[Document]) -> list[list[Document]]:
    in_order = sorted(documents, key=lambda document: (document.language, document.id))
    groups = [list(some) for _, some in groupby(in_order, key=lambda found: found.language)]
    return sorted(groups, key=len, reverse=True)[:_MAX_LANGUAGES]


def _candidates(documents: list[Document], *, max_chars: int) -> list[Document]:
    """Documents to choose from, sorted by id as they come."""
    least = min(_MIN_CHARS, max_chars)
    whole = [document for document in documents if least <= len(document.text) <= max_chars]
    return (whole or documents)[:_MAX_CANDIDATES]


def _unscored(document: Document, system: str, max_chars: int) -> Surprise | None:
    text = document.text[:max_chars]
    if not text:
        return None
    return {
        "id": document.id,
        "language": document.language,
        "system": system,
        "pieces": [text],
        "nats": [],
    }


def _score(
    found: list[Surprise],
    model: Model,
    tokenizer: PreTrainedTokenizerFast,
    *,
    context_tokens: int,
    batch_size: int,
) -> None:
    """Fill in pieces and nats; what the model's context does not hold is cut off."""
    texts = ["".join(surprise["pieces"]) for surprise in found]
    encodings = encoded(tokenizer, texts)
    values = log_probabilities(
        model,
        [Text(encoding.ids[:context_tokens]) for encoding in encodings],
        end_id=end_id(tokenizer),
        batch_size=batch_size,
    )
    for surprise, text, encoding, value in zip(found, texts, encodings, values, strict=True):
        pieces, of_token = text_pieces(text, encoding)
        nats = np.bincount(of_token[: len(value)], weights=-value)
        surprise["pieces"] = pieces[: len(nats)]
        surprise["nats"] = nats.round(_DIGITS).tolist()

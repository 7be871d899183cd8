"""Log-probabilities of given tokens, one by one, under a model of any family.

Decoders and n-gram models read a text from its end token on. An encoder-decoder reads what is
given of it with the encoder and says the rest, as in the scoring of documents: given nothing, it
reads the end token alone. Batches change nothing but the speed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from wordmill.models.encoder_decoder import decoder_start_id
from wordmill.models.ngram_model import NgramModel
from wordmill.tokens.batches import IGNORED
from wordmill.tokens.store import running_text

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from wordmill.models.folder import Model
    from wordmill.models.ngram import Floats, Ints


class Text(NamedTuple):
    """A text to score from some token on."""

    ids: list[int]
    """Without end tokens."""
    num_given: int = 0
    """Tokens at its beginning that are not scored."""


def log_probabilities(
    model: Model, texts: list[Text], *, end_id: int, batch_size: int
) -> list[Floats]:
    """The natural log-probability of each token that is not given, given all before it.

    Args:
        model: any model.
        texts: no longer than the model's context.
        end_id: opens every text.
        batch_size: texts scored at once.

    Returns:
        For each text an array of shape (tokens - given,).
    """
    if not texts:
        return []
    if isinstance(model, NgramModel):
        return _of_ngrams(model, texts, end_id=end_id)
    longest_first = sorted(range(len(texts)), key=lambda i: (-len(texts[i].ids), i))
    found: list[Floats] = [np.empty(0)] * len(texts)
    for start in range(0, len(texts), batch_size):
        chosen = longest_first[start : start + batch_size]
        batch = _of_batch(model, [texts[i] for i in chosen], end_id=end_id)
        for i, values in zip(chosen, batch, strict=True):
            found[i] = values
    return found


def _of_ngrams(model: NgramModel, texts: list[Text], *, end_id: int) -> list[Floats]:
    whole = running_text((text.ids for text in texts), end_id=end_id)
    values = model.estimate.log_probabilities(whole)
    lengths = np.array([len(text.ids) + 1 for text in texts])
    starts = np.cumsum(lengths) - lengths
    return [
        values[start + text.num_given : start + len(text.ids)]
        for start, text in zip(starts, texts, strict=True)
    ]


@torch.inference_mode()
def _of_batch(model: PreTrainedModel, texts: list[Text], *, end_id: int) -> list[Floats]:
    is_encoder_decoder = bool(model.config.is_encoder_decoder)
    inputs, labels = (_said_after if is_encoder_decoder else _read)(model, texts, end_id)
    tensors = {name: torch.from_numpy(values).to(model.device) for name, values in inputs.items()}
    losses = F.cross_entropy(
        model(**tensors, use_cache=False).logits.float().transpose(1, 2),  # (B, V, T)
        torch.from_numpy(labels).to(model.device),
        ignore_index=IGNORED,
        reduction="none",
    )  # (B, T)
    values = -losses.double().cpu().numpy()
    return [row[label != IGNORED] for row, label in zip(values, labels, strict=True)]


def _read(_: PreTrainedModel, texts: list[Text], end_id: int) -> tuple[dict[str, Ints], Ints]:
    """What a causal model is given, and the labels: (B, T) each."""
    input_ids = _padded([[end_id, *text.ids[:-1]] for text in texts], end_id)
    labels = _padded([_labels(text) for text in texts], IGNORED)
    return {"input_ids": input_ids}, labels


def _said_after(
    model: PreTrainedModel, texts: list[Text], end_id: int
) -> tuple[dict[str, Ints], Ints]:
    """What an encoder-decoder is given, (B, T) and (B, U), and the labels, (B, U)."""
    start_id = decoder_start_id(model)
    read = [[end_id, *text.ids[: text.num_given]] for text in texts]
    said = [text.ids[text.num_given :] for text in texts]
    inputs = {
        "input_ids": _padded(read, end_id),
        "attention_mask": _padded([[1] * len(ids) for ids in read], 0),
        "decoder_input_ids": _padded([[start_id, *ids[:-1]] for ids in said], start_id),
    }
    return inputs, _padded([ids or [IGNORED] for ids in said], IGNORED)


def _labels(text: Text) -> list[int]:
    given = [IGNORED] * text.num_given
    return [*given, *text.ids[text.num_given :]] or [IGNORED]


def _padded(rows: list[list[int]], value: int) -> Ints:
    found = np.full((len(rows), max(map(len, rows))), value)
    for row, ids in zip(found, rows, strict=True):
        row[: len(ids)] = ids
    return found

"""How probable held-out documents are under a model, token by token.

Every system scores the same events: each token of a document and the end token after it,
given what stands before it in that document. An encoder-decoder reads what stands before the
first of a window's events and says the rest, from left to right. Sums are float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from wordmill.metrics.score import Floats
from wordmill.models.encoder_decoder import decoder_start_id
from wordmill.models.ngram import Ints, KneserNey
from wordmill.progress import Progress
from wordmill.tokens.batches import IGNORED
from wordmill.tokens.store import running_text

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class HeldOut(NamedTuple):
    """Documents to score: their token ids and their size in UTF-8."""

    ids: list[list[int]]
    num_bytes: Floats
    """Shape (documents,)."""
    end_id: int
    """Opens and closes every document."""


class _Window(NamedTuple):
    """A stretch of a document that fits the context."""

    document: int
    begin: int
    first_scored: int
    """Place of the first target that no earlier window scored."""
    end: int


def ngram_nll(model: KneserNey, held_out: HeldOut) -> Floats:
    """Negative log-likelihood of each document in nats, shape (documents,)."""
    return _sums(ngram_token_nll(model, held_out))


def ngram_token_nll(model: KneserNey, held_out: HeldOut) -> list[Floats]:
    """Negative log-likelihood of each token of each document and of its end token, in nats."""
    text = running_text(held_out.ids, end_id=held_out.end_id)
    borders = np.cumsum([len(ids) + 1 for ids in held_out.ids], dtype=np.int64)
    return np.split(-model.log_probabilities(text), borders)[:-1]  # nothing after the last


def model_nll(
    model: PreTrainedModel,
    held_out: HeldOut,
    *,
    context_tokens: int,
    stride_tokens: int,
    batch_size: int,
    progress: Progress,
) -> Floats:
    """Negative log-likelihood of each document in nats, shape (documents,): `token_nll` summed."""
    nll = token_nll(
        model,
        held_out,
        context_tokens=context_tokens,
        stride_tokens=stride_tokens,
        batch_size=batch_size,
        progress=progress,
    )
    return _sums(nll)


@torch.inference_mode()
def token_nll(
    model: PreTrainedModel,
    held_out: HeldOut,
    *,
    context_tokens: int,
    stride_tokens: int,
    batch_size: int,
    progress: Progress,
) -> list[Floats]:
    """Negative log-likelihood of each token of each document and of its end token, in nats.

    A document longer than the context is scored in windows that move by `stride_tokens`; a
    token is scored once, in the first window that holds it, so that every token but those of
    a document's first window has at least context - stride tokens before it. Batches are of
    windows of like length; padding comes after a window and is seen by none of its tokens. An
    empty document has its end token alone.

    Args:
        model: in evaluation mode.
        held_out: the documents.
        context_tokens: the longest window.
        stride_tokens: how far windows move, at most `context_tokens`.
        batch_size: windows at once.
        progress: counts windows.

    Returns:
        An array of shape (tokens + 1,) for each document.
    """
    windows = list(
        _windows(held_out.ids, context_tokens=context_tokens, stride_tokens=stride_tokens)
    )
    windows.sort(key=lambda window: window.begin - window.end)  # longest first
    nll = [np.zeros(len(ids) + 1) for ids in held_out.ids]
    inputs_of = _continued if model.config.is_encoder_decoder else _going_on
    for start in range(0, len(windows), batch_size):
        chosen = windows[start : start + batch_size]
        inputs, labels = inputs_of(model, held_out, chosen)
        losses = _token_losses(model, inputs, labels)
        for window, row, label in zip(chosen, losses, labels, strict=True):
            nll[window.document][window.first_scored : window.end] = row[label != IGNORED]
        progress.advance(len(chosen))
    return nll


def _sums(nll: list[Floats]) -> Floats:
    return np.array([tokens.sum() for tokens in nll], dtype=np.float64)


def _windows(
    documents: list[list[int]], *, context_tokens: int, stride_tokens: int
) -> Iterator[_Window]:
    for number, ids in enumerate(documents):
        num_targets = len(ids) + 1
        begin, scored = 0, 0
        while scored < num_targets:
            end = min(begin + context_tokens, num_targets)
            yield _Window(number, begin, scored, end)
            begin, scored = begin + stride_tokens, end


def _going_on(
    model: PreTrainedModel, held_out: HeldOut, windows: list[_Window]
) -> tuple[dict[str, Ints], Ints]:
    """What a causal model is given, and the labels: (B, T) each."""
    longest = max(window.end - window.begin for window in windows)
    input_ids = np.full((len(windows), longest), held_out.end_id)  # (B, T)
    labels = np.full((len(windows), longest), IGNORED)  # (B, T)
    for row, (number, begin, first_scored, end) in enumerate(windows):
        text = _ended(held_out, number)
        input_ids[row, : end - begin] = text[begin:end]
        labels[row, first_scored - begin : end - begin] = text[first_scored + 1 : end + 1]
    return {"input_ids": input_ids}, labels


def _continued(
    model: PreTrainedModel, held_out: HeldOut, windows: list[_Window]
) -> tuple[dict[str, Ints], Ints]:
    """What an encoder-decoder is given, (B, T) and (B, U), and the labels, (B, U)."""
    num_read = max(window.first_scored + 1 - window.begin for window in windows)
    num_said = max(window.end - window.first_scored for window in windows)
    input_ids = np.full((len(windows), num_read), held_out.end_id)  # (B, T)
    is_token = np.zeros((len(windows), num_read), dtype=np.int64)  # (B, T)
    given = np.full((len(windows), num_said), decoder_start_id(model))  # (B, U)
    labels = np.full((len(windows), num_said), IGNORED)  # (B, U)
    for row, (number, begin, first_scored, end) in enumerate(windows):
        text = _ended(held_out, number)
        input_ids[row, : first_scored + 1 - begin] = text[begin : first_scored + 1]
        is_token[row, : first_scored + 1 - begin] = 1
        given[row, 1 : end - first_scored] = text[first_scored + 1 : end]
        labels[row, : end - first_scored] = text[first_scored + 1 : end + 1]
    inputs = {"input_ids": input_ids, "attention_mask": is_token, "decoder_input_ids": given}
    return inputs, labels


def _ended(held_out: HeldOut, number: int) -> list[int]:
    return [held_out.end_id, *held_out.ids[number], held_out.end_id]


def _token_losses(model: PreTrainedModel, inputs: dict[str, Ints], labels: Ints) -> Floats:
    """NLL of each label, 0 where it is to be ignored, in the shape of `labels`."""
    device = model.device
    tensors = {name: torch.from_numpy(values).to(device) for name, values in inputs.items()}
    logits = model(**tensors, use_cache=False).logits
    losses = F.cross_entropy(
        logits.float().transpose(1, 2),  # (B, V, T)
        torch.from_numpy(labels).to(device),
        ignore_index=IGNORED,
        reduction="none",
    )  # (B, T)
    values: NDArray[np.float64] = losses.double().cpu().numpy()
    return values

"""How likely each of some answers is: what a model chooses from a list of labels.

The log-likelihood of a label is that of its tokens and the end token after them, given the
prompt: a label that begins another one is not preferred for being short.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from wordmill.generation.padding import left_padded, right_padded
from wordmill.generation.steppers import takes
from wordmill.models.encoder_decoder import decoder_start_id
from wordmill.models.ngram_model import NgramModel

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from wordmill.models.folder import Model


class Scored(NamedTuple):
    """An answer to score."""

    prompt: list[int]
    answer: list[int]
    """Its tokens and the end token."""


@torch.inference_mode()
def log_likelihoods(model: Model, scored: list[Scored], *, pad_id: int) -> list[float]:
    """Natural log-probability of each answer after its prompt, in float64.

    Args:
        model: any.
        scored: a batch.
        pad_id: fills shorter rows.
    """
    if isinstance(model, NgramModel):
        return [_ngram_likelihood(model, *pair) for pair in scored]
    longest = max(len(pair.answer) for pair in scored)
    has_encoder = model.config.is_encoder_decoder
    logits = (_said if has_encoder else _gone_on)(model, scored, longest, pad_id)  # (B, U, V)
    # Answers end together in a causal model's rows, and begin together in a decoder's.
    padding = [[0] * (longest - len(pair.answer)) for pair in scored]
    rows = [
        pair.answer + more if has_encoder else more + pair.answer
        for pair, more in zip(scored, padding, strict=True)
    ]
    counts = [
        [1] * len(pair.answer) + more if has_encoder else more + [1] * len(pair.answer)
        for pair, more in zip(scored, padding, strict=True)
    ]
    wanted, is_counted = (torch.tensor(values, device=logits.device) for values in (rows, counts))
    chosen = logits.float().gather(2, wanted[:, :, None])[:, :, 0]  # (B, U)
    found = (chosen - logits.float().logsumexp(dim=-1)).double() * is_counted
    return found.sum(dim=1).tolist()


def _gone_on(model: PreTrainedModel, scored: list[Scored], longest: int, pad_id: int) -> Tensor:
    """Logits of a causal model where answers are predicted, (B, U, V)."""
    rows = [[*pair.prompt, *pair.answer[:-1]] for pair in scored]
    padded = left_padded(rows, pad_id=pad_id, device=model.device)
    settings: dict[str, Any] = {"use_cache": False}
    if takes(model, "logits_to_keep"):
        settings["logits_to_keep"] = longest
    if padded.mask is not None:
        settings["attention_mask"] = padded.mask
        if takes(model, "position_ids"):
            settings["position_ids"] = padded.positions
    return model(input_ids=padded.ids, **settings).logits[:, -longest:]


def _said(model: PreTrainedModel, scored: list[Scored], longest: int, pad_id: int) -> Tensor:
    """Logits of a decoder, (B, U, V); the encoder reads equal prompts once."""
    places: dict[tuple[int, ...], int] = {}
    row_of = [places.setdefault(tuple(pair.prompt), len(places)) for pair in scored]
    padded = right_padded([list(ids) for ids in places], pad_id=pad_id, device=model.device)
    made: Any = model
    memory = made.get_encoder()(input_ids=padded.ids, attention_mask=padded.mask)
    rows = torch.tensor(row_of, device=model.device)
    memory.last_hidden_state = memory.last_hidden_state[rows]
    given = [
        [decoder_start_id(model), *pair.answer[:-1], *[pad_id] * (longest - len(pair.answer))]
        for pair in scored
    ]
    return made(
        encoder_outputs=memory,
        attention_mask=None if padded.mask is None else padded.mask[rows],
        decoder_input_ids=torch.tensor(given, device=model.device),
        use_cache=False,
    ).logits


def _ngram_likelihood(model: NgramModel, prompt: list[int], answer: list[int]) -> float:
    scores = model.estimate.log_probabilities(np.array([*prompt, *answer], dtype=np.int64))
    return float(scores[len(prompt) - 1 :].sum())

"""A new model of any family that trains by gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wordmill.models.decoder import new_decoder
from wordmill.models.vocabulary import Vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from wordmill.params.model import ModelParams


def new_model(params: ModelParams, vocabulary: Vocabulary, *, seed: int) -> PreTrainedModel:
    """Make a model with random weights that `seed` decides.

    Args:
        params: the `model` section.
        vocabulary: of its tokenizer.
        seed: of the weights.
    """
    context_tokens = params.context_tokens
    match params.kind:
        case "decoder":
            return new_decoder(params.decoder, vocabulary, context_tokens=context_tokens, seed=seed)
        case _:
            raise NotImplementedError(params.kind)

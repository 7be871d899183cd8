"""How long prompts and answers may be: learned positions end, computed ones do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from wordmill.errors import ParamsError
from wordmill.models.ngram_model import NgramModel

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from wordmill.models.folder import Model

# OPT and BART keep two positions before the first.
_POSITIONS_BEFORE = (0, 2)


def check_answers_fit(model: Model, max_new_tokens: int) -> None:
    """See that a model can say so much: it knows no text that is longer than its context.

    Raises:
        ParamsError: it can't.
    """
    if isinstance(model, NgramModel):
        return
    num_positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if num_positions is not None and max_new_tokens > num_positions:
        who = "the model's decoder" if model.config.is_encoder_decoder else "the model"
        raise ParamsError(
            f"evaluate.decoding.max_new_tokens: got {max_new_tokens}; {who} takes {num_positions}"
            " tokens at most"
        )


def check_prompts_fit(model: Model, prompts: list[list[int]], max_new_tokens: int) -> None:
    """See that the model has a position for every token.

    Raises:
        ParamsError: the longest prompt, in a causal model with its answer, is too long.
    """
    num_positions = None if isinstance(model, NgramModel) else _num_learned(model)
    if num_positions is None or not prompts:
        return
    assert not isinstance(model, NgramModel)
    longest, has_encoder = max(map(len, prompts)), model.config.is_encoder_decoder
    if longest + (0 if has_encoder else max_new_tokens) > num_positions:
        answer = "" if has_encoder else f" and evaluate.decoding.max_new_tokens {max_new_tokens}"
        raise ParamsError(
            f"the longest prompt has {longest} tokens{answer}; the model takes {num_positions}"
            " tokens at most; lower tokenize.max_source_tokens"
            + ("" if has_encoder else " or evaluate.decoding.max_new_tokens")
        )


def _num_learned(model: PreTrainedModel) -> int | None:
    """How many positions the model has an embedding for, None where it computes them."""
    stated = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if stated is None:
        return None
    words = model.get_input_embeddings()
    sizes = {
        part.num_embeddings
        for part in model.modules()
        if isinstance(part, nn.Embedding) and part.weight is not getattr(words, "weight", None)
    }
    return stated if any(stated + before in sizes for before in _POSITIONS_BEFORE) else None

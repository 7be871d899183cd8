"""Where a model looked while it wrote an answer.

Shown are weights from each token of an answer, as it was about to be written, over the tokens of
its prompt. Of a decoder: self-attention of the last layer, the mean over its heads. Of an
encoder-decoder: the decoder's attention to the encoder in its last layer, the mean over heads. Of
the LSTM: its one additive attention. An n-gram model has none. The end token, which opens every
prompt, and the answer's own beginning take their part of the weights and are left out, so that a
row may sum to less than 1.

Attention is no explanation: other weights can give the same answer
(https://arxiv.org/abs/1902.10186), and what a token's vector holds has come from its neighbours.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from wordmill.models.additive_attention import additive_scores
from wordmill.models.encoder_decoder import decoder_start_id
from wordmill.models.lstm import LstmForConditionalGeneration
from wordmill.models.ngram_model import NgramModel
from wordmill.probes.pieces import Pieces, id_pieces
from wordmill.tasks import answer_text
from wordmill.tokens.encoding import PlainEncoder
from wordmill.tokens.prompts import Prompts, Request
from wordmill.tokens.tokenizer import encode_batch

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from wordmill.models.folder import Model
    from wordmill.models.ngram import Floats
    from wordmill.report.record import Attention

_DIGITS = 4


def attention(
    model: Model,
    tokenizer: PreTrainedTokenizerFast,
    request: Request,
    answer: str,
    *,
    id: str,
    system: str,
    max_source_tokens: int,
    max_answer_tokens: int,
) -> Attention | None:
    """The weights behind an answer; None where the model or the answer has none.

    Args:
        model: any model; its attention is switched to one that shows weights, and back.
        tokenizer: the model's own.
        request: what was asked.
        answer: what the model wrote, or anything else that it might have.
        id: of the pair.
        system: the model's name in the result.
        max_source_tokens: where a source is cut, as in training.
        max_answer_tokens: where the answer is cut.
    """
    if isinstance(model, NgramModel) or not answer:
        return None
    prompts = Prompts(PlainEncoder(tokenizer), max_source_tokens=max_source_tokens)
    (prompt,) = prompts.encode([request])
    (said,) = encode_batch(tokenizer, [answer_text(answer)])
    said = said[:max_answer_tokens]
    weights = _weights(model, prompt, said)
    if weights is None or len(prompt) < 2:
        return None
    source, wrote = id_pieces(tokenizer, prompt[1:]), id_pieces(tokenizer, said)
    return {
        "id": id,
        "task": request.task,
        "system": system,
        "source": source.texts,
        "answer": wrote.texts,
        "weights": _of_pieces(weights[:, 1:], wrote, source).round(_DIGITS).tolist(),
    }


@torch.inference_mode()
def _weights(model: PreTrainedModel, prompt: list[int], said: list[int]) -> Floats | None:
    """From each token of the answer to each of the prompt, shape (answer, prompt)."""
    read = torch.tensor([prompt], device=model.device)  # (1, T)
    if isinstance(model, LstmForConditionalGeneration):
        found = _of_lstm(model, read, _given(model, said))
    elif model.config.is_encoder_decoder:
        with _weights_shown(model):
            output = model(
                input_ids=read,
                attention_mask=torch.ones_like(read),
                decoder_input_ids=_given(model, said),
                output_attentions=True,
                use_cache=False,
            )
        found = _last(output.cross_attentions)
    else:
        whole = torch.tensor([[*prompt, *said[:-1]]], device=model.device)
        with _weights_shown(model):
            output = model(input_ids=whole, output_attentions=True, use_cache=False)
        found = _last(output.attentions)
        # What stands at a place says the token after it.
        found = None if found is None else found[len(prompt) - 1 :, : len(prompt)]
    return None if found is None else found.double().cpu().numpy()


def _last(layers: Any) -> Tensor | None:
    """The mean over heads of the last layer that has weights; some layers have none."""
    shown = [layer for layer in layers or () if layer is not None]
    return shown[-1][0].mean(dim=0) if shown else None


def _given(model: PreTrainedModel, said: list[int]) -> Tensor:
    """What the decoder of an encoder-decoder is given, (1, U)."""
    return torch.tensor([[decoder_start_id(model), *said[:-1]]], device=model.device)


def _of_lstm(model: LstmForConditionalGeneration, read: Tensor, given: Tensor) -> Tensor:
    decoder = model.decoder
    state = decoder.first_state(model.encoder(read)[0])
    states, _ = decoder.lstm(model.encoder.embed(given), (state.hidden, state.cell))
    scores = additive_scores(decoder.query(states), state.keys, decoder.score.weight[0])
    return scores.softmax(dim=-1)[0]  # (U, T)


@contextmanager
def _weights_shown(model: PreTrainedModel) -> Generator[None]:
    """Make a model hand out its weights: the fast ways to attend never have them."""
    before: Any = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def _of_pieces(weights: Floats, answer: Pieces, source: Pieces) -> Floats:
    """Of the tokens of a piece of the prompt the sum, of one of the answer the mean."""
    by_source = np.zeros((len(weights), len(source.texts)))
    np.add.at(by_source.T, source.of_token, weights.T)
    found = np.zeros((len(answer.texts), len(source.texts)))
    np.add.at(found, answer.of_token, by_source)
    return found / np.bincount(answer.of_token)[:, None]

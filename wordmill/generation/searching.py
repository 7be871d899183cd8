"""transformers' `generate`: beams, and models that the decode loop does not serve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteria
from transformers import StoppingCriteriaList as Criteria

from wordmill.generation.answers import Said
from wordmill.generation.choosing import Drawing, adjusting, cutting
from wordmill.generation.padding import left_padded, right_padded
from wordmill.models.encoder_decoder import decoder_start_id

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from wordmill.generation.answers import IsStopped
    from wordmill.generation.loop import Asked
    from wordmill.params.decoding import DecodingParams


class _Stopped(StoppingCriteria):
    """Ends the rows in whose answer a stop sequence stands."""

    def __init__(self, is_stopped: IsStopped, *, num_given: int) -> None:
        self._is_stopped, self._num_given = is_stopped, num_given

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        answers = input_ids[:, self._num_given :].tolist()
        found = [self._is_stopped(ids) for ids in answers]
        return torch.tensor(found, device=input_ids.device)


@torch.inference_mode()
def generated(
    model: PreTrainedModel,
    asked: Asked,
    decoding: DecodingParams,
    *,
    pad_id: int,
    num_sequences: int,
    is_stopped: IsStopped,
) -> list[list[Said]]:
    """The best answers to each prompt, as many as sequences, the best first.

    A search over beams does not stop at a stop sequence; the answer's text ends there all the same.

    Args:
        model: any that generates.
        asked: the prompts.
        decoding: how.
        pad_id: fills shorter prompts.
        num_sequences: 1 unless beams are searched.
        is_stopped: looks for stop sequences.
    """
    has_encoder = model.config.is_encoder_decoder
    pad = right_padded if has_encoder else left_padded
    padded = pad(asked.prompts, pad_id=pad_id, device=model.device)
    num_given = 1 if has_encoder else padded.ids.shape[1]
    processors = adjusting(decoding, end_id=asked.end_id)
    if asked.draws is not None:
        draws = asked.draws.to(model.device)
        processors = LogitsProcessorList(
            [*processors, *cutting(decoding), Drawing(draws, num_given=num_given)]
        )
    is_watched = decoding.stop and decoding.num_beams == 1
    stopped = _Stopped(is_stopped, num_given=num_given)
    generate: Any = model.generate  # typed as a Tensor by torch's Module
    output = generate(
        input_ids=padded.ids,
        attention_mask=torch.ones_like(padded.ids) if padded.mask is None else padded.mask,
        generation_config=GenerationConfig(
            do_sample=False,
            max_new_tokens=asked.max_new_tokens,
            num_beams=decoding.num_beams,
            num_return_sequences=num_sequences,
            length_penalty=decoding.length_penalty if decoding.num_beams > 1 else None,
            bos_token_id=asked.end_id,
            eos_token_id=asked.end_id,
            pad_token_id=pad_id,
            decoder_start_token_id=decoder_start_id(model) if has_encoder else None,
        ),
        logits_processor=processors,
        stopping_criteria=Criteria([stopped] if is_watched else []),
    )
    found = [Said() for _ in output]
    for said, ids in zip(found, output[:, num_given:].tolist(), strict=True):
        said.take(ids, end_id=asked.end_id, is_stopped=is_stopped)
    return [found[i : i + num_sequences] for i in range(0, len(found), num_sequences)]

"""From sources to answers: the one path behind evaluation, the command line and the registry.

Prompts of like length are decoded together. A causal model goes on from the prompt, padded on
the left; an encoder reads the prompt, padded on the right, and its decoder answers. The same list
of requests gives the same answers everywhere: same order, same batches, same arithmetic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import GenerationConfig, PreTrainedTokenizerFast

from wordmill.errors import ParamsError
from wordmill.generation.ngram import ngram_answers
from wordmill.models.encoder_decoder import decoder_start_id
from wordmill.models.ngram_model import NgramModel
from wordmill.progress import Progress
from wordmill.tokens.encoding import PlainEncoder
from wordmill.tokens.prompts import Prompts, Request
from wordmill.tokens.tokenizer import end_id, pad_id

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from wordmill.models.folder import Model
    from wordmill.params.decoding import DecodingParams


class Engine:
    """Answers requests with a model.

    Args:
        model: any transformers model, ready to generate, or an n-gram model.
        tokenizer: the model's own.
        decoding: how the model's distribution becomes text.
        max_source_tokens: where a source is cut, as in training.
        batch_size: prompts decoded at once.

    Raises:
        ParamsError: the answers may be longer than the decoder can say.
    """

    def __init__(
        self,
        model: Model,
        tokenizer: PreTrainedTokenizerFast,
        *,
        decoding: DecodingParams,
        max_source_tokens: int,
        batch_size: int,
    ) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._prompts = Prompts(PlainEncoder(tokenizer), max_source_tokens=max_source_tokens)
        self._batch_size = batch_size
        self._pad_id = pad_id(tokenizer)
        self._decoding = decoding
        self._has_encoder, start_id = False, None
        if not isinstance(model, NgramModel) and model.config.is_encoder_decoder:
            self._has_encoder, start_id = True, decoder_start_id(model)
            _check_answers_fit(model, decoding.max_new_tokens)
        self._config = GenerationConfig(
            do_sample=False,
            max_new_tokens=decoding.max_new_tokens,
            num_beams=decoding.num_beams,
            no_repeat_ngram_size=decoding.no_repeat_ngram_size,
            bos_token_id=end_id(tokenizer),
            eos_token_id=end_id(tokenizer),
            pad_token_id=self._pad_id,
            decoder_start_token_id=start_id,
        )

    def answer(self, requests: list[Request], *, progress: Progress) -> list[str]:
        """Decode an answer to each request, in the order of the requests."""
        prompts = self._prompts.encode(requests)
        longest_first = sorted(range(len(prompts)), key=lambda i: (-len(prompts[i]), i))
        answers = [""] * len(prompts)
        for start in range(0, len(prompts), self._batch_size):
            chosen = longest_first[start : start + self._batch_size]
            for i, text in zip(chosen, self._decode([prompts[i] for i in chosen]), strict=True):
                answers[i] = text
            progress.advance(len(chosen))
        return answers

    @torch.inference_mode()
    def _decode(self, prompts: list[list[int]]) -> list[str]:
        if isinstance(self._model, NgramModel):
            return self._texts(ngram_answers(self._model, prompts, self._decoding))
        longest = max(map(len, prompts))
        rows = [self._padded(ids, [self._pad_id] * (longest - len(ids))) for ids in prompts]
        seen = [self._padded([1] * len(ids), [0] * (longest - len(ids))) for ids in prompts]
        device = self._model.device
        generate: Any = self._model.generate  # typed as a Tensor by torch's Module
        output = generate(
            input_ids=torch.tensor(rows, device=device),  # (B, T)
            attention_mask=torch.tensor(seen, device=device),  # (B, T)
            generation_config=self._config,
        )
        num_given = 1 if self._has_encoder else longest  # what the answer stands behind
        return self._texts(output[:, num_given:].tolist())

    def _texts(self, new_ids: list[list[int]]) -> list[str]:
        texts = self._tokenizer.batch_decode(new_ids, skip_special_tokens=True)
        return [text.strip() for text in texts]

    def _padded(self, ids: list[int], padding: list[int]) -> list[int]:
        return ids + padding if self._has_encoder else padding + ids


def _check_answers_fit(model: PreTrainedModel, max_new_tokens: int) -> None:
    """A decoder with learned positions has no more than these; others have no bound."""
    num_positions = getattr(model.config, "max_position_embeddings", None)
    if num_positions is not None and max_new_tokens > num_positions:
        raise ParamsError(
            f"evaluate.decoding.max_new_tokens: got {max_new_tokens}; the model's decoder takes"
            f" {num_positions} tokens at most"
        )

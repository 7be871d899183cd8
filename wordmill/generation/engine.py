"""From sources to answers: the one path behind evaluation, the command line and the registry.

Prompts of like length are decoded together, padded on the left. The same list of requests
gives the same answers everywhere: same order, same batches, same arithmetic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import GenerationConfig, PreTrainedTokenizerFast

from wordmill.generation.ngram import ngram_answers
from wordmill.models.ngram_model import NgramModel
from wordmill.progress import Progress
from wordmill.tokens.encoding import PlainEncoder
from wordmill.tokens.prompts import Prompts, Request
from wordmill.tokens.tokenizer import end_id, pad_id

if TYPE_CHECKING:
    from wordmill.models.folder import Model
    from wordmill.params.evaluate import DecodingParams


class Engine:
    """Answers requests with a model.

    Args:
        model: any causal transformers model, ready to generate, or an n-gram model.
        tokenizer: the model's own.
        decoding: how the model's distribution becomes text.
        max_source_tokens: where a source is cut, as in training.
        batch_size: prompts decoded at once.
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
        self._config = GenerationConfig(
            do_sample=False,
            max_new_tokens=decoding.max_new_tokens,
            num_beams=decoding.num_beams,
            no_repeat_ngram_size=decoding.no_repeat_ngram_size,
            bos_token_id=end_id(tokenizer),
            eos_token_id=end_id(tokenizer),
            pad_token_id=self._pad_id,
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
        padded = [[self._pad_id] * (longest - len(ids)) + ids for ids in prompts]
        seen = [[0] * (longest - len(ids)) + [1] * len(ids) for ids in prompts]
        device = self._model.device
        generate: Any = self._model.generate  # typed as a Tensor by torch's Module
        output = generate(
            input_ids=torch.tensor(padded, device=device),  # (B, T)
            attention_mask=torch.tensor(seen, device=device),  # (B, T)
            generation_config=self._config,
        )
        return self._texts(output[:, longest:].tolist())

    def _texts(self, new_ids: list[list[int]]) -> list[str]:
        texts = self._tokenizer.batch_decode(new_ids, skip_special_tokens=True)
        return [text.strip() for text in texts]

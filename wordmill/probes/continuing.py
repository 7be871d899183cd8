"""What a model says next, token ids in and out.

Probes ask for the best tokens after exact ids, whatever the run's decoding is: a prefix of a
training text cut between two tokens may not be what its characters are tokenized to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import GenerationConfig

from wordmill.models.encoder_decoder import decoder_start_id
from wordmill.models.ngram_model import NgramModel

if TYPE_CHECKING:
    from wordmill.models.folder import Model
    from wordmill.models.vocabulary import Vocabulary


def continued(
    model: Model,
    prompts: list[list[int]],
    *,
    num_tokens: int,
    vocabulary: Vocabulary,
    batch_size: int,
) -> list[list[int]]:
    """The likeliest token after each prompt, and after that, and so on.

    Args:
        model: any model.
        prompts: token ids, each opened by the end token.
        num_tokens: where a text that does not end is cut.
        vocabulary: of the prompts' tokenizer.
        batch_size: prompts continued at once.

    Returns:
        New token ids, without the end token.
    """
    longest_first = sorted(range(len(prompts)), key=lambda i: (-len(prompts[i]), i))
    found: list[list[int]] = [[]] * len(prompts)
    go_on = _ngram if isinstance(model, NgramModel) else _transformer
    for start in range(0, len(prompts), batch_size):
        chosen = longest_first[start : start + batch_size]
        batch = go_on(model, [prompts[i] for i in chosen], num_tokens, vocabulary)
        for i, ids in zip(chosen, batch, strict=True):
            found[i] = ids[: ids.index(vocabulary.end_id)] if vocabulary.end_id in ids else ids
    return found


def _ngram(model: Any, prompts: list[list[int]], num_tokens: int, _: Vocabulary) -> list[list[int]]:
    contexts = model.estimate.contexts(prompts)
    said = np.empty((len(prompts), num_tokens), dtype=np.int64)
    for place in range(num_tokens):
        tokens = model.estimate.next_log_probabilities(contexts).argmax(axis=1)
        contexts = model.estimate.moved(contexts, tokens)
        said[:, place] = tokens
    return said.tolist()


@torch.inference_mode()
def _transformer(
    model: Any, prompts: list[list[int]], num_tokens: int, vocabulary: Vocabulary
) -> list[list[int]]:
    is_encoder_decoder = bool(model.config.is_encoder_decoder)
    longest = max(map(len, prompts))
    rows = np.full((len(prompts), longest), vocabulary.pad_id)
    is_token = np.zeros_like(rows)
    for row, ids in enumerate(prompts):
        # A decoder goes on behind its prompt, an encoder is padded on the right.
        place = slice(0, len(ids)) if is_encoder_decoder else slice(longest - len(ids), longest)
        rows[row, place], is_token[row, place] = ids, 1
    config = GenerationConfig(
        do_sample=False,
        num_beams=1,
        max_new_tokens=num_tokens,
        bos_token_id=vocabulary.end_id,
        eos_token_id=vocabulary.end_id,
        pad_token_id=vocabulary.pad_id,
        decoder_start_token_id=decoder_start_id(model) if is_encoder_decoder else None,
    )
    output = model.generate(
        input_ids=torch.from_numpy(rows).to(model.device),  # (B, T)
        attention_mask=torch.from_numpy(is_token).to(model.device),  # (B, T)
        generation_config=config,
    )
    return output[:, 1 if is_encoder_decoder else longest :].tolist()

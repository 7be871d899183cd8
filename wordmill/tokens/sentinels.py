"""The tokens that stand for spans taken out of a text (https://arxiv.org/abs/1910.10683)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wordmill.tokens.tokenizer import num_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from wordmill.tokens.rows import Ints

NUM_SENTINELS = 100
"""As many as T5 has; a block loses no more spans than that."""
_NAME = "<extra_id_{}>"  # T5's own


def sentinel_ids(tokenizer: PreTrainedTokenizerFast) -> Ints:
    """The id of each sentinel, shape (NUM_SENTINELS,).

    Those of the tokenizer where it has them; else the ids after its last, which only a model
    knows: no text makes them, and decoding leaves them out.
    """
    known = tokenizer.get_vocab()
    first = num_ids(tokenizer)
    ids = [known.get(_NAME.format(i), first + i) for i in range(NUM_SENTINELS)]
    return np.array(ids, dtype=np.int64)

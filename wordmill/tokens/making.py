"""The tokenizer that the params want: trained on the records, or a checkpoint's."""

from pathlib import Path
from typing import NamedTuple

from transformers import PreTrainedTokenizerFast

from wordmill.errors import ParamsError
from wordmill.params.tokenize import TokenizeParams
from wordmill.progress import Progress
from wordmill.tokens.checkpoint import from_checkpoint
from wordmill.tokens.choosing import TrainingText
from wordmill.tokens.learning import learn
from wordmill.tokens.tokenizer import is_backward, set_direction


class MadeTokenizer(NamedTuple):
    """A tokenizer and what it cost."""

    tokenizer: PreTrainedTokenizerFast
    training_bytes: int
    """Text that it was trained on; 0 for a checkpoint's."""


def make_tokenizer(
    records: Path, params: TokenizeParams, *, context_tokens: int, progress: Progress
) -> MadeTokenizer:
    """Train a tokenizer on cleaned training text and nothing held out, or load a checkpoint's.

    Args:
        records: a folder of clean records.
        params: the `tokenize` section.
        context_tokens: the longest sequence of the models that use it.
        progress: counts the texts that it learns from.

    Raises:
        DataError: there is no training text, or the checkpoint can't be loaded.
        ParamsError: the checkpoint's tokenizer can't be used.
        TryAgainError: the hub does not answer.
    """
    if params.kind == "checkpoint":
        made = MadeTokenizer(from_checkpoint(params, context_tokens=context_tokens), 0)
        if is_backward(made.tokenizer) and params.direction == "forward":
            raise ParamsError(
                f"tokenize.checkpoint: {params.checkpoint} was made to write backward; set"
                " tokenize.direction to backward"
            )
    else:
        text = TrainingText(records, max_bytes=params.max_training_bytes, progress=progress)
        tokenizer = learn(text, params, context_tokens=context_tokens)
        made = MadeTokenizer(tokenizer, text.num_bytes)
    set_direction(made.tokenizer, params.direction)
    return made

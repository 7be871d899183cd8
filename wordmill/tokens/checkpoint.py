"""A tokenizer that comes with a checkpoint: a folder, or a name on the hub."""

from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerFast

from wordmill.errors import ParamsError
from wordmill.params.tokenize import TokenizeParams
from wordmill.tokens.hub import load_errors_named


def from_checkpoint(params: TokenizeParams, *, context_tokens: int) -> PreTrainedTokenizerFast:
    """Load a checkpoint's tokenizer, and no code of it.

    Its end-of-sequence token becomes the end token; padding is its own or else the end token.

    Args:
        params: the `tokenize` section, of kind `checkpoint`.
        context_tokens: the longest sequence of the models that use it.

    Raises:
        ParamsError: it is of a kind that can't be used.
        DataError: it is not there or can't be loaded.
        TryAgainError: the hub does not answer.
    """
    name = params.checkpoint
    assert name is not None  # the section checks it
    tokenizer = _loaded(name, params.revision)
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ParamsError(
            f"tokenize.checkpoint: {name} has {type(tokenizer).__name__}, which has no fast form"
            " (tokenizer.json); take another checkpoint or train a tokenizer"
        )
    if tokenizer.eos_token_id is None:
        raise ParamsError(
            f"tokenize.checkpoint: the tokenizer of {name} has no end-of-sequence token; take"
            " another checkpoint or train a tokenizer"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if params.special_tokens:
        tokenizer.add_tokens(params.special_tokens, special_tokens=True)
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    tokenizer.model_max_length = context_tokens
    return tokenizer


def _loaded(name: str, revision: str | None) -> object:
    with load_errors_named(name, "tokenizer"):
        return AutoTokenizer.from_pretrained(
            name,
            revision=revision or "main",
            local_files_only=Path(name).is_dir(),
            trust_remote_code=False,
            split_special_tokens=True,
        )

"""An engine from a model folder and plain settings: what serves is what was scored."""

from pathlib import Path
from typing import Any

from wordmill.generation.engine import Engine, Labels
from wordmill.models.folder import load_model, load_tokenizer
from wordmill.params.decoding import DecodingParams


def load_engine(
    folder: Path,
    *,
    decoding: dict[str, Any],
    max_source_tokens: int,
    batch_size: int,
    labels: Labels | None = None,
    is_remote_code_run: bool = False,
) -> Engine:
    """Load the model and tokenizer of a folder into an engine.

    Args:
        folder: a standard model folder.
        decoding: the values of `evaluate.decoding`.
        max_source_tokens: where a source is cut, as in training.
        batch_size: rows decoded at once.
        labels: of `classify`, by what is asked.
        is_remote_code_run: whether Python code that came with the checkpoint may run here.

    Raises:
        DataError: the folder can't be loaded.
    """
    return Engine(
        load_model(folder, is_remote_code_run=is_remote_code_run),
        load_tokenizer(folder),
        decoding=DecodingParams.model_validate(decoding),
        max_source_tokens=max_source_tokens,
        batch_size=batch_size,
        labels=labels,
    )

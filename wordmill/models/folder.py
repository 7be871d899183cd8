"""A model and its tokenizer as one standard folder, which any server of such models loads."""

import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging

from wordmill.errors import DataError, OutputError
from wordmill.models.lstm import LstmConfig, LstmForConditionalGeneration
from wordmill.models.ngram_model import NgramModel, is_ngram

Model = PreTrainedModel | NgramModel

_WEIGHTS = "model.safetensors"


def save_model(folder: Path, model: Model, tokenizer: PreTrainedTokenizerFast) -> None:
    """Write config.json, model.safetensors and the tokenizer's files.

    Of a transformers model also generation_config.json.

    Raises:
        OutputError: the disk is full.
    """
    try:
        with _no_bar():
            (model.save if isinstance(model, NgramModel) else model.save_pretrained)(folder)
    except SafetensorError as error:
        raise OutputError(f"{folder}: can't be written: {error}") from None
    tokenizer.save_pretrained(folder)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Load the tokenizer of a folder, and nothing from a network.

    Raises:
        DataError: the folder has no tokenizer that can be loaded.
    """
    try:
        # An empty config: the tokenizer's own files say all, whatever the model beside it is.
        config = PreTrainedConfig()
        return AutoTokenizer.from_pretrained(folder, config=config, local_files_only=True)
    except (OSError, ValueError) as error:
        raise _cannot_load(folder, "tokenizer", error) from None


def load_model(folder: Path) -> Model:
    """Load the model of a folder, from safetensors alone, ready to generate.

    Raises:
        DataError: the folder has no model that can be loaded.
    """
    try:
        if is_ngram(folder):
            return NgramModel.load(folder)
        with _no_bar():
            model = _class_of(folder).from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
            )
    except (OSError, ValueError, SafetensorError) as error:
        raise _cannot_load(folder, "model", error) from None
    return model.eval()


def weights_digest(folder: Path) -> str:
    """SHA-256 of a folder's weights: safetensors does not notice a flipped bit."""
    return hashlib.sha256((folder / _WEIGHTS).read_bytes()).hexdigest()


def _class_of(folder: Path) -> Any:
    """The class that loads a folder's model, by its config.json."""
    values, _rest = PreTrainedConfig.get_config_dict(folder, local_files_only=True)
    if values.get("model_type") == LstmConfig.model_type:
        return LstmForConditionalGeneration
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    return AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM


@contextmanager
def _no_bar() -> Generator[None]:
    had_one = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if had_one:
            logging.enable_progress_bar()


def _cannot_load(folder: Path, what: str, error: Exception) -> DataError:
    reason = str(error).partition("\n")[0]
    return DataError(f"{folder}: the {what} can't be loaded: {reason}")

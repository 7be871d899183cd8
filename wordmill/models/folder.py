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
        with without_bar():
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


def load_model(folder: Path, *, is_remote_code_run: bool = False) -> Model:
    """Load the model of a folder, from safetensors alone, ready to generate.

    Args:
        folder: what `save_model` wrote.
        is_remote_code_run: whether Python code that came with its checkpoint may run here.

    Raises:
        DataError: the folder has no model that can be loaded.
    """
    try:
        if is_ngram(folder):
            return NgramModel.load(folder)
        with without_bar():
            model = _class_of(folder, is_remote_code_run).from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                dtype=torch.float32,
                trust_remote_code=is_remote_code_run,
            )
    except (OSError, ValueError, SafetensorError) as error:
        raise _cannot_load(folder, "model", error) from None
    be_quiet_about_padding(model)
    return model.eval()


def be_quiet_about_padding(model: PreTrainedModel) -> None:
    """Keep a model from asking for a mask where a batch holds padding.

    It comes last and has no label here: causal attention is mask enough. On a GPU, to look for
    it would wait for the device at each step.
    """
    for part in model.modules():
        if isinstance(part, PreTrainedModel):
            part.warn_if_padding_and_no_attention_mask = _say_nothing


def _say_nothing(input_ids: object, attention_mask: object) -> None:
    pass


def weights_digest(folder: Path) -> str:
    """SHA-256 of a folder's weights: safetensors does not notice a flipped bit."""
    return hashlib.sha256((folder / _WEIGHTS).read_bytes()).hexdigest()


def _class_of(folder: Path, is_remote_code_run: bool) -> Any:
    """The class that loads a folder's model, by its config.json."""
    values, _rest = PreTrainedConfig.get_config_dict(folder, local_files_only=True)
    if values.get("model_type") == LstmConfig.model_type:
        return LstmForConditionalGeneration
    # Left open, whether to trust code would be asked on the terminal.
    config = AutoConfig.from_pretrained(
        folder, local_files_only=True, trust_remote_code=is_remote_code_run
    )
    return AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM


@contextmanager
def without_bar() -> Generator[None]:
    """Keep transformers from drawing bars of its own."""
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

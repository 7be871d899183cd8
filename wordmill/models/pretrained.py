"""The family `pretrained`: the weights of a checkpoint, made to fit its tokenizer here.

Weights come from safetensors alone, in float32. What a checkpoint says of decoding is dropped:
`evaluate.decoding` decides, and transformers would mix in what it leaves open.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    GenerationConfig,
    PreTrainedConfig,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES
from transformers.utils.hub import resolve_revision

from wordmill.errors import DataError, ParamsError
from wordmill.models.folder import be_quiet_about_padding, without_bar
from wordmill.tokens.hub import load_errors_named

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from wordmill.models.vocabulary import Vocabulary

_SHOWN = 3


def load_checkpoint(
    name: str,
    *,
    revision: str | None,
    is_remote_code_run: bool,
    vocabulary: Vocabulary,
    context_tokens: int,
) -> PreTrainedModel:
    """Load the weights of a causal or sequence-to-sequence checkpoint.

    Args:
        name: a folder, or a name on the hub; that of `tokenize.checkpoint`.
        revision: of a checkpoint on the hub, a commit or tag; None takes the newest.
        is_remote_code_run: whether Python code that comes with it may run here.
        vocabulary: of its tokenizer; more ids than the checkpoint has get new embeddings.
        context_tokens: the longest sequence, T.

    Raises:
        DataError: it is not there, can't be loaded, or takes no sequence so long.
        ParamsError: it needs code of its own, which may not run.
        TryAgainError: the hub does not answer.
    """
    with load_errors_named(name, "model"), without_bar():
        source = _Source(name, revision, is_remote_code_run)
        config = source.config()
        _check_positions(name, config, context_tokens)
        model = source.model(config)
    be_quiet_about_padding(model)
    _fit(model, vocabulary)
    return model


class _Source:
    """Where config and weights come from; on the hub, of one and the same commit."""

    def __init__(self, name: str, revision: str | None, is_remote_code_run: bool) -> None:
        # By its commit: of `main`, transformers would take weights from an unmerged request too.
        found = resolve_revision(name, revision)
        self._name = name
        self._how: dict[str, Any] = {
            "revision": getattr(found, "resolved", found),
            "local_files_only": Path(name).is_dir(),
            "trust_remote_code": is_remote_code_run,
        }

    def config(self) -> PreTrainedConfig:
        try:
            config = AutoConfig.from_pretrained(self._name, **self._how)
        except ValueError as error:
            if "trust_remote_code" not in str(error):
                raise
            raise ParamsError(
                f"model.pretrained.is_remote_code_run: {self._name} needs Python code of its own;"
                " read that code and set this to true, or take another checkpoint"
            ) from None
        is_masked = config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
        if is_masked and not (config.is_encoder_decoder or config.is_decoder):
            raise DataError(
                f"tokenize.checkpoint: {self._name} ({config.model_type}) fills in masked tokens"
                " and writes no text; take a causal or a sequence-to-sequence checkpoint"
            )
        return config

    def model(self, config: PreTrainedConfig) -> PreTrainedModel:
        loads: Any = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        try:
            model, report = loads.from_pretrained(
                self._name,
                **self._how,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                output_loading_info=True,
            )
        except OSError as error:
            if "safetensors" not in str(error):
                raise
            raise self._no_safetensors(loads.__name__) from None
        # Buffers, which may be missing, are made anew.
        missing = set(report["missing_keys"]) & {name for name, _ in model.named_parameters()}
        if missing:
            raise DataError(
                f"tokenize.checkpoint: {self._name} lacks {len(missing)} of the weights of"
                f" {type(model).__name__}: {', '.join(sorted(missing)[:_SHOWN])}, ...; take a"
                " checkpoint of a model that writes text"
            )
        return model

    def _no_safetensors(self, loads: str) -> DataError:
        command = "; ".join(
            [
                f"import transformers as t; name, folder = '{self._name}', 'checkpoint'",
                f"t.{loads}.from_pretrained(name).save_pretrained(folder)",
                "t.AutoTokenizer.from_pretrained(name).save_pretrained(folder)",
            ]
        )
        return DataError(
            f"tokenize.checkpoint: {self._name} has no model.safetensors, and no other form of"
            " weights is loaded: a pickle may run code. If you trust its pytorch_model.bin, convert"
            f' it once by `python -c "{command}"` and name the new folder'
        )


def _check_positions(name: str, config: PreTrainedConfig, context_tokens: int) -> None:
    # Models of relative positions, like T5, say nothing and take any length.
    limit = getattr(config.get_text_config(), "max_position_embeddings", None)
    if limit is not None and context_tokens > limit:
        raise DataError(
            f"model.context_tokens: {context_tokens} is more than the {limit} positions of {name};"
            " lower it"
        )


def _fit(model: PreTrainedModel, vocabulary: Vocabulary) -> None:
    config, before = model.config, model.generation_config
    config.eos_token_id, config.pad_token_id = vocabulary.end_id, vocabulary.pad_id
    if config.is_encoder_decoder:
        known = (getattr(found, "decoder_start_token_id", None) for found in (config, before))
        start = next((token for token in known if token is not None), vocabulary.end_id)
        config.decoder_start_token_id = start
    model.generation_config = GenerationConfig(
        bos_token_id=getattr(config, "bos_token_id", None),
        eos_token_id=vocabulary.end_id,
        pad_token_id=vocabulary.pad_id,
        decoder_start_token_id=getattr(config, "decoder_start_token_id", None),
    )
    resize(model, vocabulary.size)


def resize(model: PreTrainedModel, num_ids: int) -> None:
    """Give ids that are new the mean of the embeddings there are, and of the output layer's rows.

    So they take little from the probability of the others
    (https://nlp.stanford.edu/~johnhew/vocab-expansion.html), and no seed is needed.
    """
    embedding: Any = model.get_input_embeddings()
    num_known = int(embedding.num_embeddings)
    if num_ids <= num_known:
        return
    with torch.random.fork_rng():
        model.resize_token_embeddings(num_ids, mean_resizing=False)
    layers: tuple[Any, ...] = (model.get_input_embeddings(), model.get_output_embeddings())
    with torch.no_grad():
        for layer in layers:  # one and the same weight where they are tied
            layer.weight[num_known:] = layer.weight[:num_known].mean(dim=0)

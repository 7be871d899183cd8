"""All of params.yaml, checked at once before anything runs.

Stages check against this when they start, but none depends on it: a stage reruns only when
the shape of its own section changes.
"""

import importlib.util

from pydantic import Field, model_validator

from wordmill.params.baselines import BaselinesParams
from wordmill.params.clean import CleanParams
from wordmill.params.compute import ComputeParams
from wordmill.params.evaluate import EvaluateParams
from wordmill.params.ingest import IngestParams
from wordmill.params.model import ModelParams
from wordmill.params.registry import RegistryParams
from wordmill.params.section import Section
from wordmill.params.tokenize import TokenizeParams
from wordmill.params.training import FinetuneParams, PretrainParams
from wordmill.tasks import TASKS, cue

# What a pair needs beside its source and target: the start and end tokens and the cue, of which
# each token is a character at least.
_CUES = [cue(task, is_asking=is_asking) for task in TASKS for is_asking in (False, True)]
_FRAME_TOKENS = 2 + max(len(found.before) + len(found.after) for found in _CUES)


class Params(Section):
    """params.yaml."""

    seed: int = Field(ge=0, lt=2**31)
    """Where all randomness starts."""
    ingest: IngestParams
    clean: CleanParams
    tokenize: TokenizeParams
    model: ModelParams
    compute: ComputeParams
    pretrain: PretrainParams
    finetune: FinetuneParams
    baselines: BaselinesParams
    evaluate: EvaluateParams
    registry: RegistryParams

    @model_validator(mode="after")
    def _kinds_agree(self) -> "Params":
        kind = self.model.kind
        if kind == "pretrained" and self.tokenize.kind != "checkpoint":
            raise ValueError(
                "model.kind 'pretrained' needs tokenize.kind 'checkpoint' and, under"
                " tokenize.checkpoint, the folder or hub name of the model and its tokenizer"
            )
        if kind == "pretrained" and self.tokenize.direction == "backward":
            raise ValueError(
                "tokenize.direction 'backward' needs a model that is trained from scratch; the"
                " checkpoint of model.kind 'pretrained' has learned to write forward"
            )
        if self.finetune.pair_packing == "pack" and kind in ("encoder-decoder", "lstm"):
            raise ValueError(
                f"finetune.pair_packing 'pack' is for decoders; model.kind '{kind}' needs 'bucket'"
            )
        if self.finetune.lora.is_on and kind in ("lstm", "ngram"):
            raise ValueError(f"finetune.lora is for Transformers; model.kind is '{kind}'")
        if self.finetune.lora.is_on and importlib.util.find_spec("peft") is None:
            # Here, so that nobody waits for the pretraining to hear of it.
            raise ValueError(
                "finetune.lora needs peft; run `pip install 'wordmill[lora]'` (in a clone:"
                " `pip install -e '.[lora]'`), or set finetune.lora.is_on to false"
            )
        return self

    @model_validator(mode="after")
    def _pairs_fit_the_context(self) -> "Params":
        tokens = self.tokenize
        needed = tokens.max_source_tokens + _FRAME_TOKENS
        needed += max(tokens.max_target_tokens, self.evaluate.decoding.max_new_tokens)
        if needed > self.model.context_tokens:
            raise ValueError(
                f"a pair may take {needed} tokens (tokenize.max_source_tokens, the longer of"
                " tokenize.max_target_tokens and evaluate.decoding.max_new_tokens, and"
                f" {_FRAME_TOKENS} for the cue), but model.context_tokens is"
                f" {self.model.context_tokens}"
            )
        probe = self.evaluate.probes.memorization
        needed = 1 + probe.prefix_tokens + probe.continuation_tokens
        if probe.num_documents > 0 and needed > self.model.context_tokens:
            raise ValueError(
                f"evaluate.probes.memorization takes {needed} tokens (prefix_tokens,"
                " continuation_tokens and the start token), but model.context_tokens is"
                f" {self.model.context_tokens}"
            )
        if self.evaluate.stride_tokens >= self.model.context_tokens:
            raise ValueError(
                f"evaluate.stride_tokens {self.evaluate.stride_tokens} must be below"
                f" model.context_tokens {self.model.context_tokens}"
            )
        return self

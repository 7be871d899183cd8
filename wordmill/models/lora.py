"""Low-rank adapters: all linear layers but the output layer learn a small correction each.

https://arxiv.org/abs/2106.09685; the base stays as it is. The layers are wrapped in place, so a
model given to `with_adapters` is no more what it was. Of rank 8, adapters add 6% to the parameters
of the default decoder, and less than 1% to those of a large model.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from transformers.pytorch_utils import Conv1D

from wordmill.errors import ParamsError
from wordmill.files import write_json

if TYPE_CHECKING:
    from pathlib import Path

    from peft import PeftModel
    from transformers import PreTrainedModel

    from wordmill.params.training import LoraParams

_CONFIG = "adapter_config.json"
_CARD = "README.md"


def with_adapters(model: PreTrainedModel, params: LoraParams, *, seed: int) -> PeftModel:
    """Wrap a model so that adapters alone train; at first it gives the very same logits.

    Args:
        model: to be adapted, in place.
        params: the `finetune.lora` section.
        seed: of the adapters' weights.

    Raises:
        ParamsError: peft is not installed, or the model has no layers that take adapters.
    """
    peft = _peft()
    if any(isinstance(module, torch.nn.RNNBase) for module in model.modules()):
        raise ParamsError(
            f"finetune.lora.is_on: the recurrent layers of {type(model).__name__} take no adapters;"
            " set it to false"
        )
    is_encoder_decoder = bool(model.config.is_encoder_decoder)
    config = peft.LoraConfig(
        task_type="SEQ_2_SEQ_LM" if is_encoder_decoder else "CAUSAL_LM",
        target_modules="all-linear",  # to peft, all but the output layer
        r=params.rank,
        lora_alpha=params.alpha,
        lora_dropout=params.dropout,
        # GPT-2 keeps its matrices transposed.
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
    )
    with torch.random.fork_rng(), _old_name_allowed():
        torch.manual_seed(seed)
        return peft.get_peft_model(model, config)


def merged(model: PeftModel) -> PreTrainedModel:
    """The model with its adapters added to its weights, in place: an ordinary one again."""
    base: Any = model
    plain: PreTrainedModel = base.merge_and_unload(safe_merge=True)
    return plain.requires_grad_(True)


def save_adapters(folder: Path, model: PeftModel) -> None:
    """Write adapter_model.safetensors and adapter_config.json, which peft loads onto the base.

    The same adapters give the same bytes.
    """
    # Embeddings are never adapted; to find out by itself, peft would ask the hub.
    model.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / _CARD).unlink()  # an empty form
    config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    config["target_modules"].sort()  # out of a set: their order is chance
    write_json(folder / _CONFIG, config)


def _peft() -> Any:
    try:
        import peft  # an extra: only adapters need it
    except ModuleNotFoundError:
        raise ParamsError(
            "finetune.lora.is_on: peft is not installed; run `pip install 'wordmill[lora]'` (in a"
            " clone: `pip install -e '.[lora]'`), or set it to false"
        ) from None
    return peft


@contextmanager
def _old_name_allowed() -> Generator[None]:
    """Silence transformers 5.23, which peft 0.21 asks by a name that its version 6 drops."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")
        yield

"""Dropout is part of the recipe, not of a model: one rate for all places that a family has.

Models with places of their own (nn.Dropout, or rates that their layers read) get the rate set
there. Llama-like ones have none but inside attention; what their embedding, attention and
feed-forward layers give is dropped from by hooks, as in GPT-2. Adapters keep their own rate.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_RATES = ("dropout", "attention_dropout", "activation_dropout")
_IN_ATTENTION = "attention_dropout"
_OF_ADAPTERS = ".lora_dropout."  # peft's name
# What writes to the residual stream of a Llama-like layer.
_BRANCH_ENDS = ("o_proj", "down_proj")


@contextmanager
def dropout(model: PreTrainedModel, rate: float) -> Generator[None]:
    """Train with dropout of `rate` inside the block; afterwards there is none."""
    has_places = _set_rates(model, rate)
    hooks = [] if has_places or rate == 0 else [_hooked(module, rate) for module in _places(model)]
    try:
        yield
    finally:
        _set_rates(model, 0.0)
        for hook in hooks:
            hook.remove()


def _set_rates(model: nn.Module, rate: float) -> bool:
    """Set every rate there is; whether there is one outside attention."""
    found = False
    for path, module in model.named_modules():
        if _OF_ADAPTERS in path:
            continue
        if isinstance(module, nn.Dropout):
            module.p, found = rate, True
        for name in _RATES:
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, rate)
                found = found or name != _IN_ATTENTION
    return found


def _places(model: PreTrainedModel) -> list[nn.Module]:
    ends = [module for name, module in model.named_modules() if name.endswith(_BRANCH_ENDS)]
    return [model.get_input_embeddings(), *ends]


def _hooked(module: nn.Module, rate: float) -> RemovableHandle:
    def drop(module: nn.Module, _: object, output: Tensor) -> Tensor:
        return F.dropout(output, rate, training=module.training)

    return module.register_forward_hook(drop)

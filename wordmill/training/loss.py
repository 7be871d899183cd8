"""The loss of every neural family, without logits where there is no label.

    loss = Loss(model, is_dense=False, is_compiled=False)  # once, before DDP, FSDP or compiling
    total = loss(batch, label_smoothing=0.0)  # Tensor (), nats, summed over labelled places

Divide the sum by a count of labels and scale it as you like. Under `torch.no_grad` no gradient
is computed. A hook before the model's output layer takes the hidden states, so all of the
model's own code runs as it is, compiled or not; the layer then works on labelled places alone,
fused with the cross-entropy (linear_cross_entropy.py). Which of three ways a model goes:

- fused: its logits are what a plain nn.Linear makes of the hidden states, tried once on a tiny
  input, and the weight lies whole on this device;
- selected: it does more to its logits (a final bias, soft-capping, adapters), the weight is
  sharded, or the products are in float16, where gradients survive rounding only if the scaled
  loss came first: the layer is given labelled places alone, then F.cross_entropy;
- whole: it has no output layer that can be found: all logits, then F.cross_entropy.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wordmill.tokens.batches import IGNORED, Batch
from wordmill.training.linear_cross_entropy import (
    linear_cross_entropy,
    product_type,
    scores_and_gradients,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Way = Literal["fused", "selected", "whole"]

_LOUD = 1000.0  # hidden states so large that soft-capping shows; a final bias shows in small ones


class Loss:
    """Sum of cross-entropies over the labelled places of a batch.

    Args:
        model: any transformers model, adapters around it or not, compiled or not; the layer that
            `get_output_embeddings()` gives now is the one that will be called.
        is_dense: (nearly) every place has a label: none is looked for, which on a GPU would wait
            for the device at each step. Labels that are IGNORED are still left out.
        is_compiled: whether the model is compiled: so are a chunk's scores then.
    """

    def __init__(
        self, model: PreTrainedModel, *, is_dense: bool = False, is_compiled: bool = False
    ) -> None:
        self._model = model
        self._is_dense, self._is_compiled = is_dense, is_compiled
        self._scores = torch.compile(scores_and_gradients) if is_compiled else scores_and_gradients
        self._tap = _Tap()
        self._layer = _output_layer(model)
        self.way: Way = "whole"
        """How this model goes, unless a call has float16 or a sharded weight."""
        if self._layer is not None:
            self._layer.register_forward_pre_hook(self._tap)
            self.way = _way(model, self._layer, self._tap)

    def __call__(self, batch: Batch, *, label_smoothing: float = 0.0) -> Tensor:
        """The sum in nats, float32 at least; 0 where nothing is labelled.

        Args:
            batch: whose keys but `labels` the model is given; labels have the shape of its
                logits without V.
            label_smoothing: share of each target spread over the vocabulary.
        """
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        labels = batch["labels"].flatten()  # (N,)
        places = None if self._is_dense else (labels != IGNORED).nonzero()[:, 0]
        if places is not None and len(places) == len(labels):
            places = None
        chosen = labels if places is None else labels[places]
        if self.way == "fused" and _can_fuse(self._layer):
            assert isinstance(self._layer, nn.Linear)
            with self._tap.set_to("take"):
                self._model(**inputs, use_cache=False)
            return linear_cross_entropy(
                _at(self._tap.taken(), places),
                self._layer.weight,
                self._layer.bias,
                chosen,
                label_smoothing=label_smoothing,
                scores=self._scores,
            )
        # Selected inside, a compiled model would be compiled anew for each number of places.
        is_selected = self.way != "whole" and not self._is_compiled
        with self._tap.set_to("select" if is_selected else "pass", places):
            logits = self._model(**inputs, use_cache=False).logits
        rows = logits.flatten(0, -2) if is_selected else _at(logits, places)  # (N, V)
        return F.cross_entropy(
            rows.to(torch.promote_types(rows.dtype, torch.float32)),
            chosen,
            ignore_index=IGNORED,
            reduction="sum",
            label_smoothing=label_smoothing,
        )


class _Tap:
    """A hook that stands before the output layer and does one of four things.

    It is never taken off: a compiled model is guarded on what it is set to, and a hook that came
    and went would compile the model anew.
    """

    def __init__(self) -> None:
        self.set: Literal["pass", "take", "select", "probe"] = "pass"
        self.num_calls = 0
        """Since `set_to`."""
        self._places: Tensor | None = None
        self._hidden: Tensor | None = None

    def __call__(self, layer: nn.Module, args: tuple[Any, ...]) -> tuple[Tensor] | None:
        if self.set == "pass" or not args:
            return None
        self.num_calls += 1
        hidden = args[0]  # (..., D)
        if self.set == "take":
            self._hidden = hidden
            return (hidden[..., :0, :],)  # the layer and what follows work on nothing
        if self.set == "select":
            return None if self._places is None else (_at(hidden, self._places)[None],)
        self._hidden = torch.cat([hidden, hidden * _LOUD])
        return (self._hidden,)

    @contextmanager
    def set_to(
        self, what: Literal["pass", "take", "select", "probe"], places: Tensor | None = None
    ) -> Generator[None]:
        """Do that to what the layer is given."""
        self.set, self._places, self.num_calls = what, places, 0
        try:
            yield
        finally:
            self.set, self._places = "pass", None

    def taken(self) -> Tensor:
        """The hidden states, once: holding them would hold their graph."""
        hidden, self._hidden = self._hidden, None
        assert hidden is not None
        return hidden


def _at(values: Tensor, places: Tensor | None) -> Tensor:
    rows = values.flatten(0, -2)  # (N, D)
    return rows if places is None else rows.index_select(0, places)


def _output_layer(model: PreTrainedModel) -> nn.Module | None:
    layer: Any = model.get_output_embeddings()
    return layer if isinstance(layer, nn.Module) else None


def _can_fuse(layer: nn.Module | None) -> bool:
    """Whether the weight lies whole on this device and products are not in float16.

    FSDP shows a flat part of a weight, or a DTensor, where the layer is a unit of its own.
    """
    assert isinstance(layer, nn.Linear)
    weight = layer.weight
    is_whole = type(weight) in (Tensor, nn.Parameter) and weight.shape == (
        layer.out_features,
        layer.in_features,
    )
    return is_whole and product_type(weight) != torch.float16


def _way(model: PreTrainedModel, layer: nn.Module, tap: _Tap) -> Way:
    """Try a text of two tokens, and the same with loud hidden states."""
    with _quiet(model), tap.set_to("probe"):
        logits = _tiny(model, layer).logits  # (2, 2, V)
    if tap.num_calls != 1:
        return "whole"
    with torch.no_grad():
        wanted = layer(tap.taken())
    is_plain = type(layer) is nn.Linear and torch.equal(wanted, logits)
    return "fused" if is_plain else "selected"


def _tiny(model: PreTrainedModel, layer: nn.Module) -> Any:
    device = next(layer.parameters()).device
    ids = torch.tensor([[0, 1]], device=device)  # (1, 2)
    inputs = {"input_ids": ids}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids
    # Not by calling it: a model compiled in place would compile for a text of two tokens.
    inner: Any = getattr(model, "_orig_mod", model)
    return inner.forward(**inputs, use_cache=False)


@contextmanager
def _quiet(model: nn.Module) -> Generator[None]:
    """No gradient and no dropout, so that no random number is drawn."""
    was_training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in was_training:
            module.training = True

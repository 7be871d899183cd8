"""Whether a model keeps texts of one row apart by their positions alone.

Most of transformers' decoders build their mask from positions that start again; OPT, BLOOM, MPT
and Mamba do not look at them, and would learn from texts that they should not see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from wordmill.errors import ParamsError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_TOLERANCE = 1e-4


def check_apart(model: PreTrainedModel, *, key: str, instead: str) -> None:
    """See that a text says nothing about the one after it in its row.

    Args:
        model: a causal model.
        key: of params.yaml that asks for several texts in a row.
        instead: the value that asks for none.

    Raises:
        ParamsError: the model looks over the border.
    """
    if not _is_apart(model):
        raise ParamsError(
            f"{key}: {type(model).__name__} does not keep texts of one row apart; set it to"
            f" '{instead}'"
        )


@torch.no_grad()
def _is_apart(model: PreTrainedModel) -> bool:
    """Try two rows of two texts: the second ones are equal, the first ones are not."""
    rows = torch.tensor([[2, 3, 4, 5, 4, 3], [4, 2, 3, 5, 4, 3]], device=model.device)  # (2, 6)
    positions = torch.tensor([[0, 1, 2, 0, 1, 2]] * 2, device=model.device)  # (2, 6)
    was_training = model.training
    model.eval()
    try:
        found: Any = [
            model(input_ids=row[None], position_ids=place[None], use_cache=False).logits[0, 3:]
            for row, place in zip(rows, positions, strict=True)
        ]
    except TypeError:  # it takes no positions
        return False
    finally:
        model.train(was_training)
    return torch.allclose(found[0], found[1], atol=_TOLERANCE)

"""What training asks of the machine: precision, compilation, devices, and how busy they are."""

from __future__ import annotations

import re
import resource
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from wordmill.errors import ParamsError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from wordmill.params.compute import ComputeParams
    from wordmill.params.training import TrainingParams

# Dense 16-bit tensor operations a second by the makers' data sheets (no sparsity).
_PEAK_FLOPS = {
    "H200": 989e12,
    "GH200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L40": 181e12,
    "L4": 121e12,
    "A10": 125e12,
    "V100": 125e12,
    "T4": 65e12,
}


def is_on_gpu(compute: ComputeParams) -> bool:
    """Whether training runs on GPUs.

    Raises:
        ParamsError: they are asked for and not there.
    """
    has_gpu = torch.cuda.is_available()
    if compute.accelerator == "cuda" and not has_gpu:
        raise ParamsError("compute.accelerator: 'cuda' is asked for, but torch sees no GPU here")
    return has_gpu and compute.accelerator != "cpu"


def precision(params: TrainingParams, *, is_on_gpu: bool) -> Any:
    """Lightning's name of the precision: bf16 only where the hardware has it.

    On a CPU without native support it was 24 times slower than 32 bits.

    Raises:
        ParamsError: 16-mixed without a GPU.
    """
    match params.precision:
        case "auto":
            has_bf16 = is_on_gpu and torch.cuda.is_bf16_supported(including_emulation=False)
            return "bf16-mixed" if has_bf16 else "32-true"
        case 32:
            return "32-true"
        case "16-mixed" if not is_on_gpu:
            raise ParamsError(
                "precision: '16-mixed' needs a GPU; allowed here: auto, 32, bf16-mixed"
            )
        case given:
            return given


def is_compiled(model: nn.Module, params: TrainingParams, *, is_on_gpu: bool) -> bool:
    """Whether the model is compiled: on a CPU it gained 1.18 times after two minutes.

    `auto` leaves recurrent models out: their layers are one call into a library already.
    """
    if params.compile != "auto":
        return params.compile == "always"
    return is_on_gpu and not any(isinstance(part, nn.RNNBase) for part in model.modules())


def strategy(compute: ComputeParams, *, is_on_gpu: bool) -> str:
    """Lightning's name of the strategy.

    Raises:
        ParamsError: FSDP without GPUs.
    """
    if compute.strategy == "fsdp" and not is_on_gpu:
        raise ParamsError("compute.strategy: 'fsdp' needs GPUs; allowed here: auto, ddp")
    is_alone = compute.devices * compute.num_nodes == 1
    return {"auto": "auto" if is_alone else "ddp"}.get(compute.strategy, compute.strategy)


def flops_a_token(model: PreTrainedModel, *, context_tokens: float) -> float:
    """Operations of a forward and a backward pass of a decoder for a token, 6 N + 12 L D T.

    N parameters without those of an embedding that is only looked up, L layers, D wide, T tokens
    of context (https://arxiv.org/abs/2204.02311, appendix B). A weight that is not trained costs
    4 instead of 6: it has no gradient of its own.
    """
    embedding: Any = model.get_input_embeddings()
    head: Any = model.get_output_embeddings()
    num_parameters = model.num_parameters()
    num_frozen = num_parameters - model.num_parameters(only_trainable=True)
    if head is not None and head.weight is not embedding.weight:
        num_parameters -= embedding.weight.numel()
    layers = getattr(model.config, "num_hidden_layers", 0) or 0
    width = getattr(model.config, "hidden_size", 0) or 0
    return 6 * num_parameters - 2 * num_frozen + 12 * layers * width * context_tokens


def peak_flops(*, precision: str, is_on_gpu: bool) -> float | None:
    """Operations a second that a GPU can do at most, None where that is not known here."""
    if not is_on_gpu or precision == "32-true":
        return None
    name = torch.cuda.get_device_name()
    # Whole words: an A1000 is no A100, and a T400 no T4.
    return next((peak for at, peak in _PEAK_FLOPS.items() if re.search(rf"\b{at}\b", name)), None)


def memory_bytes(*, is_on_gpu: bool) -> int:
    """The most memory that this process has had: of the GPU, or of the machine."""
    if is_on_gpu:
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

"""How fast is the output layer with its loss, forward and backward, and what does it hold?

    python bench/loss.py [--places 2048] [--repeats 7] [--device cpu] [--bf16]

`F.cross_entropy` of `F.linear` against wordmill/training/linear_cross_entropy.py with chunks of
several sizes, in turn, medians in ms. Memory is that of the tensors an operation makes, added up
while they live (on a GPU the allocator's own peak).
"""

import argparse
import gc
import statistics
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from tables import table
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from wordmill.training import linear_cross_entropy as chunks

ROWS = (64, 128, 256, 512, 1024, 2048)
SIZES = [(vocab, width) for vocab in (4096, 32000) for width in (96, 192, 384)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--places", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true")
    asked = parser.parse_args()
    torch.manual_seed(0)
    print(table(rows(asked)))


def rows(asked: argparse.Namespace) -> Iterator[list[str]]:
    """A row for each size of vocabulary and layer."""
    yield ["V, D", "plain", *(f"{n} rows" for n in ROWS), "as chosen", "MiB, plain", "MiB, ours"]
    for vocab, width in SIZES:
        hidden = torch.randn(asked.places, width, device=asked.device, requires_grad=True)
        weight = (torch.randn(vocab, width, device=asked.device) * 0.05).requires_grad_()
        labels = torch.randint(vocab, (asked.places,), device=asked.device)
        contenders = {"plain": plain, **{str(n): in_chunks(n, vocab) for n in ROWS}, "ours": ours}
        inputs = (hidden, weight, labels)
        found: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(asked.repeats + 1):
            for name, loss in contenders.items():
                found[name].append(seconds(loss, inputs, asked.bf16))
        medians = (statistics.median(times[1:]) * 1000 for times in found.values())
        peaks = (peak_bytes(loss, inputs, asked.bf16) / 2**20 for loss in (plain, ours))
        yield [f"{vocab}, {width}", *(f"{value:.0f}" for value in (*medians, *peaks))]


def plain(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """What most training loops do."""
    return F.cross_entropy(F.linear(hidden, weight).float(), labels, reduction="sum")


def ours(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """This project's, with the chunks that it chooses."""
    return chunks.linear_cross_entropy(hidden, weight, None, labels)


def in_chunks(num_rows: int, vocab: int) -> Callable[..., Tensor]:
    """This project's, with chunks of so many rows."""

    def loss(*inputs: Tensor) -> Tensor:
        was = chunks._CPU_LOGITS, chunks._GPU_LOGITS, chunks._MIN_ROWS
        chunks._CPU_LOGITS = chunks._GPU_LOGITS = num_rows * vocab
        chunks._MIN_ROWS = 1
        found = ours(*inputs)
        chunks._CPU_LOGITS, chunks._GPU_LOGITS, chunks._MIN_ROWS = was
        return found

    return loss


def seconds(loss: Callable[..., Tensor], inputs: tuple[Tensor, ...], is_bf16: bool) -> float:
    """Wall time of a forward and a backward pass."""
    started_at = time.perf_counter()
    step(loss, inputs, is_bf16)
    if inputs[0].is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - started_at


def step(loss: Callable[..., Tensor], inputs: tuple[Tensor, ...], is_bf16: bool) -> None:
    """A forward and a backward pass."""
    inputs[0].grad = inputs[1].grad = None
    with torch.autocast(inputs[0].device.type, dtype=torch.bfloat16, enabled=is_bf16):
        found = loss(*inputs)
    (found / len(inputs[2])).backward()


def peak_bytes(loss: Callable[..., Tensor], inputs: tuple[Tensor, ...], is_bf16: bool) -> float:
    """The most that is held at once, gradients included, inputs not."""
    gc.collect()
    if inputs[0].is_cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step(loss, inputs, is_bf16)
        return torch.cuda.max_memory_allocated() - before
    with Held() as held:
        step(loss, inputs, is_bf16)
    return held.peak


class Held(TorchDispatchMode):
    """Adds up the storages that operations make, for as long as they live."""

    def __init__(self) -> None:
        super().__init__()
        self.peak, self._now, self._known = 0, 0, set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do the operation and count what it made."""
        made = func(*args, **(kwargs or {}))
        for one in made if isinstance(made, tuple | list) else [made]:
            if isinstance(one, Tensor):
                self._count(one.untyped_storage())
        return made

    def _count(self, storage: Any) -> None:
        key, size = storage.data_ptr(), storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self._now += size
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._now -= size


if __name__ == "__main__":
    main()

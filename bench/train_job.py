"""One run of one system in a process of its own: what it is told and what it says.

    python bench/train_job.py FOLDER/job.json

trains as the file says and prints a line of JSON. Called by bench/train.py.
"""

import importlib
import json
import resource
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wordmill.models.building import new_model
from wordmill.models.vocabulary import Vocabulary
from wordmill.params.model import ModelParams
from wordmill.params.section import read_params
from wordmill.params.training import PretrainParams
from wordmill.tokens.batches import BlockBatches

PARAMS = Path(__file__).parents[1] / "params.yaml"
DATA_SEED = 1
SYSTEMS = {"wordmill": "train_wordmill", "bare loop": "peer_bare", "Trainer": "peer_trainer"}


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run."""

    system: str
    ids: str
    """File of token ids, uint16."""
    vocab_size: int
    decoder: dict[str, Any]
    """The `model.decoder` section."""
    block_tokens: int
    batch_size: int
    steps: int
    untimed_steps: int
    """Of these, the first that are not timed: memory is taken, code compiled."""
    lr: float
    seed: int
    """Of the weights, and of the order of batches."""
    are_batches_given: bool
    """Whether the batches are this project's, step by step, or as the system makes them."""
    device: str
    is_compiled: bool
    is_bf16: bool
    num_threads: int

    def params(self) -> PretrainParams:
        """The recipe: the project's own, cut to so many steps."""
        values = read_params(PARAMS)["pretrain"] | {
            "length": f"{self.steps} steps",
            "batch_size": self.batch_size,
            "lr": self.lr,
            "warmup_steps": max(1, self.steps // 10),
            "validation_every_steps": self.steps,
            "keeps": "last",
            "max_loss_rise": None,
            "precision": "bf16-mixed" if self.is_bf16 else 32,
            "compile": "always" if self.is_compiled else "never",
        }
        return PretrainParams.model_validate(values)

    def model(self) -> Any:
        """The project's own model at its start, which all systems start from."""
        shape = read_params(PARAMS)["model"] | {
            "kind": "decoder",
            "context_tokens": self.block_tokens,
            "decoder": self.decoder,
        }
        vocabulary = Vocabulary(self.vocab_size, end_id=0, pad_id=1)
        return new_model(ModelParams.model_validate(shape), vocabulary, seed=self.seed)

    def token_ids(self) -> Any:
        """All of the text, mapped."""
        return np.memmap(self.ids, dtype=np.uint16, mode="r")

    def batches(self) -> BlockBatches:
        """The project's batches."""
        return BlockBatches(
            self.token_ids(),
            block_tokens=self.block_tokens,
            batch_size=self.batch_size,
            seed=DATA_SEED + self.seed,
        )

    @property
    def tokens_a_step(self) -> int:
        """B * T."""
        return self.batch_size * self.block_tokens


@dataclass(kw_only=True)
class Clock:
    """When steps were done, and their losses where a system read them."""

    is_on_gpu: bool
    stamps: dict[int, tuple[float, float]] = field(default_factory=dict[int, tuple[float, float]])
    """Wall and CPU seconds."""
    losses: dict[int, float] = field(default_factory=dict[int, float])

    def log(self, metrics: dict[str, float], step: int) -> None:
        """Take a step; as a tracker of this project's."""
        if "loss" in metrics:
            self.losses.setdefault(step, metrics["loss"])
            self.done(step)

    def done(self, step: int) -> None:
        """A step is done; the first time counts."""
        if step not in self.stamps:
            if self.is_on_gpu and step % 10 == 0:
                torch.cuda.synchronize()
            self.stamps[step] = time.perf_counter(), time.process_time()

    def flush(self) -> None:
        """Of a tracker."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What came of a run."""

    seconds: float
    """Of the timed steps."""
    cpu_seconds: float
    """Of all threads; other work on the machine moves them less."""
    steps: int
    losses: dict[str, float]
    """By step."""
    peak_bytes: int
    """The most memory: of the process, or allocated on the GPU."""
    num_parameters: int


def run(job: Job) -> Found:
    """Train."""
    torch.set_num_threads(job.num_threads)
    clock = Clock(is_on_gpu=job.device == "cuda")
    num_parameters = importlib.import_module(SYSTEMS[job.system]).train(job, clock)
    if clock.is_on_gpu:
        peak = torch.cuda.max_memory_allocated()
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    starts, ends = clock.stamps[job.untimed_steps], clock.stamps[job.steps]
    return Found(
        seconds=ends[0] - starts[0],
        cpu_seconds=ends[1] - starts[1],
        steps=job.steps - job.untimed_steps,
        losses={str(step): loss for step, loss in clock.losses.items()},
        peak_bytes=peak,
        num_parameters=num_parameters,
    )


if __name__ == "__main__":
    asked = Job(**json.loads(Path(sys.argv[1]).read_text()))
    print(json.dumps(asdict(run(asked))))

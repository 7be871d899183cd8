"""Hugging Face's Trainer with its defaults, on the project's own model.

It needs `accelerate` (`pip install -e ".[bench]"`). Its loss is read every 10 steps; where
batches are given, at every step.
"""

import os
import tempfile
from typing import Any

import torch
from torch.utils.data import Dataset, SequentialSampler
from train_job import Clock, Job
from transformers import Trainer, TrainerCallback, TrainingArguments

from wordmill.training.schedule import lr_fraction

os.environ["HF_HUB_OFFLINE"] = "1"


def train(job: Job, clock: Clock) -> int:
    """Train; returns the number of parameters."""
    params, model = job.params(), job.model()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=job.batch_size,
            max_steps=job.steps,
            learning_rate=params.lr,
            weight_decay=params.weight_decay,
            adam_beta1=params.beta1,
            adam_beta2=params.beta2,
            max_grad_norm=params.clip_norm,
            logging_steps=1 if job.are_batches_given else 10,
            seed=job.seed,
            bf16=job.is_bf16,
            torch_compile=job.is_compiled,
            use_cpu=job.device == "cpu",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=False,
        )
        made = _Scheduled(
            model=model, args=arguments, train_dataset=_Blocks(job), callbacks=[_Timed(clock)]
        )
        made.job = job
        made.train()
    return model.num_parameters()


class _Blocks(Dataset[dict[str, torch.Tensor]]):
    """Blocks of text by number; where batches are given, in the order of their steps."""

    def __init__(self, job: Job) -> None:
        self._batches, self._job, self._ids = job.batches(), job, job.token_ids()

    def __len__(self) -> int:
        job = self._job
        return job.steps * job.batch_size if job.are_batches_given else self._batches.num_items

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        if self._job.are_batches_given:
            step, row = divmod(number, self._job.batch_size)
            given = self._batches.at(step)
            return example(given["input_ids"][row], given["labels"][row])
        time = self._job.block_tokens
        ids = torch.from_numpy(self._ids[number * time : (number + 1) * time + 1].astype("int64"))
        return example(ids[:-1], ids[1:])


def example(ids: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """Labels already one place on: else a model of transformers shifts them, and loses one."""
    return {"input_ids": ids, "labels": labels, "shift_labels": labels}


class _Scheduled(Trainer):
    """The Trainer, with the project's schedule: its own warm-up starts from a step of lr 0."""

    job: Job

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        params = self.job.params()
        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer or self.optimizer,
            lambda step: lr_fraction(step, params, steps=num_training_steps),
        )
        return self.lr_scheduler

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        if self.job.are_batches_given:
            return SequentialSampler(train_dataset or self.train_dataset)
        return super()._get_train_sampler(train_dataset)


class _Timed(TrainerCallback):
    """Tells the clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._clock.done(state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if logs and "loss" in logs:
            self._clock.losses[state.global_step] = float(logs["loss"])

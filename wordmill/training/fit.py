"""One training path for every model: resumable at any step, the same weights every time.

The order of batches and the seed of every step are functions of the absolute step, so a run
that was killed and resumed ends with the weights of an undisturbed one, byte for byte (same
machine, same number of threads and devices).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch

from wordmill.errors import ParamsError
from wordmill.progress import Progress
from wordmill.tokens.batches import BlockBatches
from wordmill.training import hardware
from wordmill.training.checkpoints import (
    WholeCheckpointIO,
    check_identity,
    load_best,
    newest_checkpoint,
    step_of,
)
from wordmill.training.cost import Meter, counters, device_name
from wordmill.training.curves import Curves
from wordmill.training.dropout import dropout
from wordmill.training.feed import Feed, check_parts
from wordmill.training.loss import Loss
from wordmill.training.module import LanguageModelling, Part
from wordmill.training.monitor import Monitor
from wordmill.training.schedule import num_steps
from wordmill.training.spending import Spending
from wordmill.training.stopping import leave_sigterm_to, stops_named
from wordmill.training.validation import Validator
from wordmill.training.watch import Pace, Watch

if TYPE_CHECKING:
    from torch.utils.data import DataLoader
    from transformers import PreTrainedModel

    from wordmill.params.compute import ComputeParams
    from wordmill.params.training import TrainingParams
    from wordmill.training.given import Data, Place

_GPU_STEPS_A_READING = 10

log = logging.getLogger(__name__)


def fit(
    model: PreTrainedModel,
    params: TrainingParams,
    *,
    compute: ComputeParams,
    data: Data,
    place: Place,
    seed: int,
) -> Curves:
    """Train `model` in place, from the newest checkpoint of its place if there is one.

    Args:
        model: the model to train.
        params: the recipe.
        compute: the devices.
        data: batches by step, batches to validate on.
        place: where checkpoints, metrics and progress go.
        seed: of dropout.

    Returns:
        The curves from the first step on, also of a resumed run.

    Raises:
        ParamsError: the recipe does not fit the data or the devices.
        DataError: a loss or gradient is NaN or infinite, a loss rose too far, or the checkpoints
            of the place belong to something else.
        TryAgainError: SIGTERM came; a checkpoint is written.
    """
    check_parts(params, compute)
    _check_sharding(model, params, compute)
    run = _Run(model, params, compute, data, place, seed)
    with stops_named(place.scratch, run.steps):
        run.train()
    best = run.monitor.curves.best
    if params.keeps == "best" and best is not None:
        if compute.strategy == "fsdp":
            _make_whole(model)
        model.load_state_dict(_of_model(load_best(place.scratch, best.step)))
    run.keep_cost()
    model.eval()
    return run.monitor.curves


class _Run:
    """One call of `fit`, put together."""

    def __init__(
        self,
        model: PreTrainedModel,
        params: TrainingParams,
        compute: ComputeParams,
        data: Data,
        place: Place,
        seed: int,
    ) -> None:
        self._model, self._params, self._compute = model, params, compute
        self._data, self._place = data, place
        self._is_on_gpu = hardware.is_on_gpu(compute)
        self._precision = hardware.precision(params, is_on_gpu=self._is_on_gpu)
        self.steps = num_steps(params, data.train)
        self._is_compiled = hardware.is_compiled(model, params, is_on_gpu=self._is_on_gpu)
        self._world_size = compute.devices * compute.num_nodes
        self._checkpoint = newest_checkpoint(place.scratch)
        if self._checkpoint:
            check_identity(self._checkpoint, place.identity)
        self._start = step_of(self._checkpoint) if self._checkpoint else 0
        self._progress = Progress(
            place.name,
            show=place.show,
            total=self.steps,
            unit="step",
            every_seconds=place.every_seconds,
            start=self._start,
        )
        self._spending = self._new_spending()
        self.monitor = self._new_monitor()
        self._trainer = self._new_trainer()
        self._module = LanguageModelling(
            model,
            params,
            steps=self.steps,
            seed=seed,
            loss=Loss(
                model,
                is_dense=isinstance(data.train, BlockBatches),
                is_compiled=self._is_compiled,
            ),
            loader=self._loader,
        )

    def train(self) -> None:
        """Train to the last step."""
        if self._checkpoint:
            log.info("resuming after step %d of %d", self._start, self.steps)
        self._model.train()
        self._prepare()
        with self._progress, dropout(self._model, self._params.dropout):
            self._trainer.fit(self._module, ckpt_path=self._checkpoint, weights_only=True)

    def keep_cost(self) -> None:
        """Write down what the whole run took, beside its checkpoints."""
        if self._trainer.is_global_zero:
            self._keep_cost_of(self._trainer.global_step)

    def _keep_cost_of(self, steps: int) -> None:
        train = self._data.train
        self._spending.keep(round(steps * train.batch_size * train.mean_item_tokens))

    def _new_spending(self) -> Spending:
        num_gpus = self._compute.devices if self._is_on_gpu else 0
        is_all_here = self._compute.num_nodes == 1
        return Spending(
            self._place.scratch,
            stage=self._place.name,
            device=device_name(num_gpus=num_gpus),
            meter=Meter(counters(num_gpus=num_gpus) if is_all_here else []),
        )

    def _loader(self, rank: int) -> DataLoader[Part]:
        feed = Feed(
            self._data.train,
            start=self._start,
            stop=self.steps,
            accumulate=self._params.accumulate_batches,
            rank=rank,
            world_size=self._world_size,
        )
        return feed.loader(is_on_gpu=self._is_on_gpu)

    def _prepare(self) -> None:
        if self._params.is_gradient_checkpointed:
            try:
                self._model.activation_checkpointing_enable()
            except ValueError:
                name = type(self._model).__name__
                raise ParamsError(f"is_gradient_checkpointed: {name} has no such thing") from None
        if self._is_compiled:
            self._model.compile()
        # Not needed for the same results, and a pass over memory at every new tensor.
        torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]

    def _new_trainer(self) -> pl.Trainer:
        compute = self._compute
        trainer = pl.Trainer(
            accelerator="cuda" if self._is_on_gpu else "cpu",
            devices=compute.devices,
            num_nodes=compute.num_nodes,
            strategy=hardware.strategy(compute, is_on_gpu=self._is_on_gpu),
            precision=self._precision,
            accumulate_grad_batches=self._params.accumulate_batches,
            max_steps=self.steps,
            limit_val_batches=0,  # the monitor validates
            deterministic="warn",
            plugins=[WholeCheckpointIO(self._place.identity)],
            callbacks=[self.monitor],
            default_root_dir=self._place.scratch,
            use_distributed_sampler=False,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        if self._world_size > 1:
            leave_sigterm_to(self.monitor, trainer)
        return trainer

    def _new_monitor(self) -> Monitor:
        params, place, data = self._params, self._place, self._data
        is_every_step = not self._is_on_gpu and self._world_size == 1
        watch = Watch(
            every_steps=1 if is_every_step else _GPU_STEPS_A_READING,
            max_loss_rise=params.max_loss_rise,
            records_of=data.records_of,
            newest=lambda: newest_checkpoint(place.scratch),
            reduced=self._summed,
            is_scaled=self._precision == "16-mixed",
        )
        item_tokens = data.train.mean_item_tokens
        is_decoder = not self._model.config.is_encoder_decoder
        peak = hardware.peak_flops(precision=self._precision, is_on_gpu=self._is_on_gpu)
        pace = Pace(
            step_tokens=item_tokens * params.batch_size,
            flops_a_token=hardware.flops_a_token(self._model, context_tokens=item_tokens),
            peak_flops=peak and peak * self._world_size if is_decoder else None,
        )
        return Monitor(
            params,
            steps=self.steps,
            watch=watch,
            pace=pace,
            validator=Validator(data.validation, bytes_of_ids=data.bytes_of_ids),
            progress=self._progress,
            tracker=place.tracker,
            folder=place.scratch,
            on_saved=self._keep_cost_of,
            checkpoint_seconds=place.checkpoint_seconds,
        )

    def _summed(self, values: torch.Tensor) -> torch.Tensor:
        if self._world_size == 1:
            return values
        return self._trainer.strategy.reduce(values, reduce_op="sum")


def _check_sharding(model: PreTrainedModel, params: TrainingParams, compute: ComputeParams) -> None:
    if compute.strategy != "fsdp":
        return
    if params.keeps != "best":
        raise ParamsError("keeps: 'last' needs whole weights, which fsdp has not; set it to best")
    if hasattr(model, "peft_config"):
        raise ParamsError("compute.strategy: 'fsdp' takes no adapters; take ddp")


def _make_whole(model: PreTrainedModel) -> None:
    """Give a model that was cut into parts parameters of its own again; their values are new."""
    model.__dict__.update(type(model)(model.config).__dict__)


def _of_model(weights: dict[str, Any]) -> dict[str, Any]:
    """The weights under the model's own names, without the module's that held it."""
    return {name.removeprefix("model."): value for name, value in weights.items()}

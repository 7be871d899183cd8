"""This project's `fit`, timed from outside by what it tells its tracker."""

import tempfile
from pathlib import Path

from train_job import Clock, Job

from wordmill.params.compute import ComputeParams
from wordmill.progress import nowhere
from wordmill.tokens.batches import BlockBatches
from wordmill.training.fit import fit
from wordmill.training.given import Data, Place


def train(job: Job, clock: Clock) -> int:
    """Train as the pretrain stage does; returns the number of parameters."""
    model = job.model()
    compute = ComputeParams(accelerator=job.device, devices=1, num_nodes=1, strategy="auto")
    with tempfile.TemporaryDirectory() as folder:
        place = Place(
            scratch=Path(folder), name="bench", tracker=clock, show=nowhere, every_seconds=60.0
        )
        data = Data(train=job.batches(), validation=few(job))
        fit(model, job.params(), compute=compute, data=data, place=place, seed=job.seed)
    return model.num_parameters()


def few(job: Job) -> BlockBatches:
    """A batch to validate on, after the last timed step."""
    ids = job.token_ids()[: job.tokens_a_step + 1]
    return BlockBatches(ids, block_tokens=job.block_tokens, batch_size=job.batch_size, seed=0)

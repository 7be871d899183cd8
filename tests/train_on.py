"""Trains a small decoder on pairs of different lengths: `python train_on.py DEVICES FOLDER STEPS`.

A program of its own, as Lightning starts it again for each device beside the first.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
from conftest import SMALL_PARAMS

from wordmill.models.building import new_model
from wordmill.models.vocabulary import Vocabulary
from wordmill.params.compute import ComputeParams
from wordmill.params.model import ModelParams
from wordmill.params.training import FinetuneParams
from wordmill.progress import nowhere
from wordmill.tokens.pair_batches import PairBatches
from wordmill.training.fit import fit
from wordmill.training.given import Data, Place


class Silent:
    def log(self, metrics, step):
        pass

    def flush(self):
        pass


def pairs(batch_size):
    draw = np.random.default_rng(0)
    lengths = draw.integers(4, 12, 60)
    stops = np.cumsum(lengths)
    spans = np.stack([stops - lengths, stops - draw.integers(1, 4, 60), stops], axis=1)
    ids = draw.integers(2, 64, stops[-1]).astype(np.uint16)
    return PairBatches(ids, spans, pad_id=1, batch_size=batch_size, seed=0)


def main(devices: int, folder: Path, steps: int) -> None:
    torch.set_num_threads(1)
    shape = ModelParams(**SMALL_PARAMS["model"])
    model = new_model(shape, Vocabulary(64, end_id=0, pad_id=1), seed=0)
    params = FinetuneParams(
        **{**SMALL_PARAMS["finetune"], "length": f"{steps} steps", "batch_size": 8}
    )
    curves = fit(
        model,
        params,
        compute=ComputeParams(**{**SMALL_PARAMS["compute"], "devices": devices}),
        data=Data(train=pairs(8), validation=pairs(7)),
        place=Place(
            scratch=folder / "scratch",
            name="test",
            tracker=Silent(),
            show=nowhere,
            every_seconds=60,
            checkpoint_seconds=0.2,
        ),
        seed=5,
    )
    if os.environ.get("LOCAL_RANK", "0") == "0":
        found = {
            "training": [loss for _, loss, _ in curves.training],
            "validation": [at.loss for at in curves.validation],
            "weights": model.lm_head.weight[:4].detach().flatten().tolist(),
        }
        (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))

"""SIGKILL at every step, at random moments, inside validations and checkpoint writes: the weights
and curves in the end are those of a run that nobody disturbed, byte for byte, in every family."""

import json
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SMALL_PARAMS

from wordmill.models.building import new_model
from wordmill.models.vocabulary import Vocabulary
from wordmill.params.compute import ComputeParams
from wordmill.params.model import ModelParams
from wordmill.params.training import PretrainParams
from wordmill.progress import nowhere
from wordmill.tokens.batches import BlockBatches
from wordmill.tokens.denoising import DenoisingBatches
from wordmill.training import checkpoints
from wordmill.training.fit import fit
from wordmill.training.given import Data, Place
from wordmill.training.validation import Validator

FAMILIES = ("decoder", "encoder-decoder", "lstm")
VOCAB, STEPS = 64, 12
PARAMS = PretrainParams(
    **{
        **SMALL_PARAMS["pretrain"],
        "length": f"{STEPS} steps",
        "batch_size": 4,
        "accumulate_batches": 2,
        "validation_every_steps": 5,
        "dropout": 0.1,
    }
)


class Killer:
    """Takes metrics; kills its own process when the loss of a step comes."""

    def __init__(self, at_step=None):
        self.at_step = at_step

    def log(self, metrics, step):
        if step == self.at_step and "loss" in metrics:
            end_now()

    def flush(self):
        pass


def end_now(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def batches(family):
    ids = np.random.default_rng(0).integers(2, VOCAB, 33 * 24).astype(np.uint16)
    common = {"block_tokens": 24, "batch_size": 4, "seed": 3}
    if family == "decoder":
        return BlockBatches(ids, **common)
    return DenoisingBatches(
        ids,
        **common,
        params=PARAMS.denoising,
        sentinels=np.arange(VOCAB, VOCAB + 100),
        start_id=0,
        pad_id=1,
        end_id=0,
    )


def train(family, scratch, killer):
    torch.set_num_threads(1)
    shape = ModelParams(**{**SMALL_PARAMS["model"], "kind": family})
    model = new_model(shape, Vocabulary(VOCAB, end_id=0, pad_id=1), seed=1)
    curves = fit(
        model,
        PARAMS,
        compute=ComputeParams(**SMALL_PARAMS["compute"]),
        data=Data(train=batches(family), validation=batches(family)),
        place=Place(
            scratch=scratch,
            name="test",
            tracker=killer,
            show=nowhere,
            every_seconds=60,
            checkpoint_seconds=0,
        ),
        seed=5,
    )
    torch.save(model.state_dict(), scratch / "partial.pt")
    (scratch / "curves.json").write_text(json.dumps(curves.state()))
    (scratch / "partial.pt").rename(scratch / "done.pt")


def die_in_a_validation(call):
    sums = Validator._sums

    def at_call(self, *args):
        nonlocal call
        call -= 1
        return end_now() if call == 0 else sums(self, *args)

    Validator._sums = at_call


def die_in_a_write(call):
    save = torch.save

    def part_of_it(content, file, **options):
        nonlocal call
        call -= 1
        if call == 0:
            file.write(b"half a checkpoint")
            end_now()
        save(content, file, **options)

    torch.save = part_of_it


def die_before_a_name_is_given(call):
    digest = checkpoints._digest_of

    def at_call(path):
        nonlocal call
        call -= 1
        return end_now() if call == 0 else digest(path)

    checkpoints._digest_of = at_call


def child(family, scratch, at_step=None, die=None, call=0):
    if die:
        die(call)
    train(family, scratch, Killer(at_step))


@pytest.fixture(scope="module")
def start():
    """Starts a child that has the libraries loaded."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(
        ["wordmill.training.fit", "wordmill.models.building", "wordmill.tokens.denoising"]
    )

    def started(*args, **options):
        made = server.Process(target=child, args=args, kwargs=options)
        made.start()
        return made

    return started


@pytest.fixture(scope="module")
def undisturbed(start, tmp_path_factory):
    folders = {}
    for family in FAMILIES:
        folders[family] = tmp_path_factory.mktemp(family)
        made = start(family, folders[family])
        made.join()
        assert made.exitcode == 0
    return folders


def finish(start, family, scratch):
    last = start(family, scratch)
    last.join()
    assert last.exitcode == 0


def assert_the_same(one, other):
    assert (one / "curves.json").read_text() == (other / "curves.json").read_text()
    mine, theirs = (torch.load(folder / "done.pt") for folder in (one, other))
    assert mine.keys() == theirs.keys()
    for name in mine:
        assert torch.equal(mine[name], theirs[name]), name


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_killed_at_every_step(start, undisturbed, tmp_path, family):
    for step in range(1, STEPS + 1):
        made = start(family, tmp_path, at_step=step)
        made.join()
        assert made.exitcode == -signal.SIGKILL
    finish(start, family, tmp_path)
    assert_the_same(tmp_path, undisturbed[family])


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("die", [die_in_a_validation, die_in_a_write, die_before_a_name_is_given])
def test_killed_inside_a_validation_and_a_write(start, undisturbed, tmp_path, family, die):
    for call in (1, 2, 3, 7):
        made = start(family, tmp_path, die=die, call=call)
        made.join()
        assert made.exitcode == -signal.SIGKILL
    finish(start, family, tmp_path)
    assert_the_same(tmp_path, undisturbed[family])


@pytest.mark.slow
def test_killed_at_fifty_random_moments(start, undisturbed, tmp_path):
    draw, kills, runs = random.Random(0), 0, 0
    while kills < 50:
        family, folder = FAMILIES[runs % len(FAMILIES)], tmp_path / str(runs)
        folder.mkdir()
        while not (folder / "done.pt").exists():
            made = start(family, folder)
            _wait_for_a_sign_of_work(made, folder)
            time.sleep(draw.random() * 0.3)
            made.kill()
            made.join()
            kills += made.exitcode == -signal.SIGKILL
        assert_the_same(folder, undisturbed[family])
        runs += 1
    assert runs > 1


def _wait_for_a_sign_of_work(made, folder: Path) -> None:
    """Until it has written a checkpoint, so that each life brings the run on, or has ended."""
    before = {path.name for path in folder.iterdir()}
    while made.is_alive() and {path.name for path in folder.iterdir()} <= before:
        time.sleep(0.002)

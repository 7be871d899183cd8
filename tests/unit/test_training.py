import errno
import math
import multiprocessing
import os
import random
import signal
import sys
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SMALL_PARAMS

from wordmill.errors import DataError, OutputError, ParamsError, TryAgainError
from wordmill.models.building import new_model
from wordmill.models.vocabulary import Vocabulary
from wordmill.params.compute import ComputeParams
from wordmill.params.length import Length
from wordmill.params.model import ModelParams
from wordmill.params.training import PretrainParams
from wordmill.progress import nowhere
from wordmill.tokens.batches import BlockBatches
from wordmill.tokens.pair_batches import PackedPairBatches, PairBatches
from wordmill.training import checkpoints
from wordmill.training import fit as fitting
from wordmill.training.checkpoints import WholeCheckpointIO, newest_checkpoint, step_of
from wordmill.training.feed import Feed
from wordmill.training.fit import fit
from wordmill.training.given import Data, Place
from wordmill.training.hardware import peak_flops, precision
from wordmill.training.monitor import Monitor
from wordmill.training.schedule import lr_fraction, num_steps

VOCAB = 64
GOLDEN = Path(__file__).parents[1] / "golden" / "decoder_losses.txt"


class Tracker:
    """Remembers what was logged; may do something at a step."""

    def __init__(self, at_step=None, do=None):
        self.logged, self.at_step, self.do = [], at_step, do

    def log(self, metrics, step):
        self.logged.append((step, metrics))
        if step == self.at_step and "loss" in metrics:
            self.do()

    def flush(self):
        pass


def decoder(seed=0):
    shape = ModelParams(**SMALL_PARAMS["model"])
    return new_model(shape, Vocabulary(VOCAB, end_id=0, pad_id=1), seed=seed)


def blocks(batch_size=4, seed=0):
    text = np.tile(np.arange(2, 34, dtype=np.uint16), 60)
    noise = np.random.default_rng(0).integers(2, VOCAB, len(text)).astype(np.uint16)
    text[::5] = noise[::5]
    return BlockBatches(text, block_tokens=16, batch_size=batch_size, seed=seed)


def recipe(**changes):
    return PretrainParams(**{**SMALL_PARAMS["pretrain"], "length": "24 steps", **changes})


def train(
    model,
    scratch,
    *,
    params=None,
    batches=None,
    validation=None,
    tracker=None,
    checkpoint_seconds=60.0,
    identity=None,
    compute=None,
    **known,
):
    return fit(
        model,
        params or recipe(),
        compute=compute or ComputeParams(**SMALL_PARAMS["compute"]),
        data=Data(train=batches or blocks(), validation=validation or blocks(), **known),
        place=Place(
            scratch=scratch,
            identity=identity or {},
            name="test",
            tracker=tracker or Tracker(),
            show=nowhere,
            every_seconds=60,
            checkpoint_seconds=checkpoint_seconds,
        ),
        seed=5,
    )


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def fractions(**changes):
    params = recipe(warmup_steps=10, **changes)
    return [lr_fraction(step, params, steps=100) for step in range(101)]


def test_the_cosine_warms_up_and_falls():
    found = fractions()
    assert found[0] == pytest.approx(0.1)
    assert found[9] == found[10] == 1
    assert found[55] == pytest.approx(0.55)
    assert found[100] == pytest.approx(0.1)


def test_warmup_stable_decay_is_level_and_then_a_line():
    found = fractions(schedule="wsd", decay_fraction=0.2)
    assert found[9:81] == [1] * 72
    assert found[90] == pytest.approx(0.55)
    assert found[100] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("length", "steps"),
    [("30 steps", 30), ("2 epochs", 60), ("0.5 epochs", 15), ("1k tokens", 16), ("960 tokens", 15)],
)
def test_length_is_counted_in_steps_tokens_or_epochs(length, steps):
    batches = blocks()  # 1,920 tokens: 119 blocks of 16, 4 a step
    assert batches.num_items == 119
    assert num_steps(recipe(length=length), batches) == steps


def test_a_warm_up_that_would_not_end_is_refused():
    with pytest.raises(ParamsError, match="warmup_steps 4 must be below the 2 steps"):
        num_steps(recipe(length="0.05 epochs"), blocks())


def test_the_same_recipe_gives_the_same_weights(tmp_path):
    models = [decoder(), decoder()]
    for number, model in enumerate(models):
        train(model, tmp_path / str(number))
    assert_same(weights(models[0]), weights(models[1]))


def test_the_losses_are_the_golden_ones(tmp_path):
    curves = train(decoder(), tmp_path)
    found = [loss for _, loss, _ in curves.training]
    golden = [float(line) for line in GOLDEN.read_text().split()]
    np.testing.assert_allclose(found, golden, rtol=1e-4)


def test_one_batch_overfits(tmp_path):
    text = np.random.default_rng(0).integers(2, VOCAB, 33).astype(np.uint16)
    batch = BlockBatches(text, block_tokens=32, batch_size=1, seed=0)  # one block: it can't move
    curves = train(decoder(), tmp_path, params=recipe(length="300 steps", lr=0.02), batches=batch)
    assert curves.training[-1][1] < 0.05 < math.log(VOCAB) - 1 < curves.training[0][1]


@pytest.mark.parametrize("is_packed", [False, True])
def test_finetuning_leaves_the_prompt_alone(tmp_path, is_packed):
    """Targets that follow from the prompt are learned; random prompts are not."""
    draw = np.random.default_rng(0)
    prompts = draw.integers(10, VOCAB, (40, 6))
    rows = np.concatenate([prompts, prompts[:, :1] * 0 + 5, prompts[:, :1] * 0], axis=1)
    spans = np.array([[i * 8, i * 8 + 6, i * 8 + 8] for i in range(40)])
    kind = partial(PackedPairBatches, row_tokens=32) if is_packed else PairBatches
    pairs = kind(rows.astype(np.uint16).ravel(), spans, pad_id=1, batch_size=8, seed=0)
    curves = train(decoder(), tmp_path, params=recipe(length="80 steps"), batches=pairs)
    assert curves.training[-1][1] < 0.1


def test_validation_and_metrics_are_reported_by_step(tmp_path):
    tracker = Tracker()
    curves = train(decoder(), tmp_path, tracker=tracker)
    assert [step for step, *_ in curves.training] == list(range(1, 25))
    assert [at.step for at in curves.validation] == [20, 24]  # the last step always
    logged = dict(tracker.logged)
    assert set(logged[7]) == {"loss", "lr", "gradient_norm", "tokens_per_second", "memory_gb"}
    curves.write(tmp_path)
    assert (tmp_path / "training.csv").read_text().count("\n") == 25
    assert (
        (tmp_path / "validation.csv")
        .read_text()
        .startswith("step,loss,perplexity,bits_per_byte\n20,")
    )


def test_the_reported_learning_rate_is_the_schedules(tmp_path):
    curves = train(decoder(), tmp_path)
    for step, _, lr in curves.training:
        wanted = lr_fraction(step - 1, recipe(), steps=24)
        assert lr == pytest.approx(0.01 * wanted)


def interrupt():
    raise KeyboardInterrupt


@pytest.mark.parametrize("at_step", [2, 11, 20, 23])
def test_a_run_resumed_at_any_step_ends_the_same(tmp_path, at_step):
    straight = decoder()
    wanted = train(straight, tmp_path / "straight")
    with pytest.raises(KeyboardInterrupt):
        train(
            decoder(), tmp_path / "cut", tracker=Tracker(at_step, interrupt), checkpoint_seconds=0
        )
    resumed, tracker = decoder(seed=1), Tracker()
    curves = train(resumed, tmp_path / "cut", tracker=tracker)
    assert_same(weights(straight), weights(resumed))
    assert curves.training == wanted.training
    assert curves.validation == wanted.validation
    assert tracker.logged[0][0] == at_step  # the step cut off is taken again, none before it


def test_sigterm_writes_a_checkpoint_and_asks_to_try_again(tmp_path):
    straight = decoder()
    train(straight, tmp_path / "straight")
    terminate = Tracker(9, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(TryAgainError, match="to go on after step 9 of 24"):
        train(decoder(), tmp_path / "cut", tracker=terminate)
    newest = newest_checkpoint(tmp_path / "cut")
    assert newest is not None
    assert step_of(newest) == 9
    resumed = decoder()
    train(resumed, tmp_path / "cut")
    assert_same(weights(straight), weights(resumed))


def test_a_program_that_exits_on_sigterm_does_so(tmp_path):
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    terminate = Tracker(9, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit) as left:
        train(decoder(), tmp_path, tracker=terminate)
    assert left.value.code == 143


def test_sigterm_after_a_step_asked_whether_to_save_loses_nothing(tmp_path, monkeypatch):
    straight = decoder()
    train(straight, tmp_path / "straight")
    asks = Monitor._save_if_due

    def late(monitor, trainer):
        asks(monitor, trainer)
        if trainer.global_step == 9:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(Monitor, "_save_if_due", late)
        with pytest.raises(TryAgainError, match="to go on after step 9 of 24"):
            train(decoder(), tmp_path / "cut")
    resumed = decoder(seed=1)
    curves = train(resumed, tmp_path / "cut")
    assert_same(weights(straight), weights(resumed))
    assert [step for step, *_ in curves.training] == list(range(1, 25))


def _train_in_child(scratch: Path) -> None:
    torch.set_num_threads(1)
    model = decoder()
    train(model, scratch, params=recipe(length="120 steps"), checkpoint_seconds=0)
    torch.save(model.state_dict(), scratch / "partial.pt")
    (scratch / "partial.pt").rename(scratch / "done.pt")


@pytest.mark.slow
def test_sigkill_at_random_moments_changes_nothing(tmp_path):
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["wordmill.training.fit", "wordmill.models.building"])
    draw, kills = random.Random(0), 0
    for name in ("straight", "killed"):
        scratch = tmp_path / name
        scratch.mkdir()
        while not (scratch / "done.pt").exists():
            child = server.Process(target=_train_in_child, args=(scratch,))
            child.start()
            if name == "killed" and kills < 6:
                start = step_of(newest_checkpoint(scratch) or Path(f"step-{0:09}-{0:016}.ckpt"))
                while child.is_alive() and _newest_step(scratch) < start + 9:
                    time.sleep(0.005)
                time.sleep(draw.random() * 0.05)
                child.kill()
                kills += 1
            child.join()
            assert name == "killed" or child.exitcode == 0
    assert kills == 6
    one, other = (torch.load(tmp_path / n / "done.pt") for n in ("straight", "killed"))
    assert_same(one, other)


def _newest_step(scratch: Path) -> int:
    return max((int(path.name[5:14]) for path in scratch.glob("step-*.ckpt")), default=0)


def test_a_nan_loss_stops_the_run(tmp_path):
    model = decoder()
    torch.nn.init.constant_(model.lm_head.weight, math.nan)
    with pytest.raises(DataError, match="step 1: the loss is nan; lower lr") as caught:
        train(model, tmp_path, records_of=lambda step: [f"record-{step}-{i}" for i in range(7)])
    assert "(record-0-0, record-0-1, record-0-2, record-0-3, record-0-4 and 2 more)" in str(
        caught.value
    )
    assert "last good checkpoint: none yet" in str(caught.value)


def test_a_nan_gradient_stops_the_run_before_a_checkpoint_keeps_it(tmp_path):
    model = decoder()
    poison = Tracker(5, lambda: model.lm_head.weight.register_hook(lambda g: g * math.nan))
    with pytest.raises(DataError, match="step 6: the gradient norm is nan") as caught:
        train(model, tmp_path, tracker=poison, checkpoint_seconds=0)
    newest = newest_checkpoint(tmp_path)
    assert newest is not None
    assert step_of(newest) == 5
    assert str(newest) in str(caught.value)
    kept = torch.load(newest, weights_only=True)["state_dict"].values()
    assert all(bool(value.isfinite().all()) for value in kept)


def _spoil(model):
    with torch.no_grad():
        model.lm_head.weight.copy_(-20 * model.lm_head.weight)


def test_a_loss_that_jumps_stops_the_run(tmp_path):
    params = recipe(length="60 steps", max_loss_rise=3.0)
    model = decoder()
    spoiled = Tracker(40, lambda: _spoil(model))
    with pytest.raises(DataError, match=r"step 41: the loss is .* the median of the 40 before it"):
        train(model, tmp_path, params=params, tracker=spoiled)
    model = decoder()
    spoiled = Tracker(40, lambda: _spoil(model))
    allowed = params.model_copy(update={"max_loss_rise": None})
    train(model, tmp_path / "allowed", params=allowed, tracker=spoiled)


def checkpoints_of(scratch):
    with pytest.raises(KeyboardInterrupt):
        train(decoder(), scratch, tracker=Tracker(9, interrupt), checkpoint_seconds=0)
    return sorted(scratch.glob("*.ckpt"))


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(tmp_path, damage):
    older, newer = checkpoints_of(tmp_path)
    content = bytearray(newer.read_bytes())
    content[len(content) // 2] ^= 1
    newer.write_bytes(content if damage == "flipped" else content[:-100])
    with pytest.warns(UserWarning, match="damaged"):
        assert newest_checkpoint(tmp_path) == older


def test_only_the_newest_checkpoints_are_kept(tmp_path):
    assert [step_of(path) for path in checkpoints_of(tmp_path)] == [7, 8]


def test_writing_takes_a_small_share_of_the_time(tmp_path, monkeypatch):
    write, written = WholeCheckpointIO.save_checkpoint, []

    def slowly(self, checkpoint, path, storage_options=None):
        written.append(checkpoint["global_step"])
        time.sleep(0.2)
        write(self, checkpoint, path, storage_options)

    monkeypatch.setattr(WholeCheckpointIO, "save_checkpoint", slowly)
    train(decoder(), tmp_path, params=recipe(keeps="last"), checkpoint_seconds=0.001)
    assert len(written) == 1  # of 24 steps of a few ms


def test_a_full_disk_is_one_line_and_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    before = checkpoints_of(tmp_path)

    real = checkpoints._Hashed

    class Full:
        """A file on a disk with room for 3,000 bytes more."""

        def __init__(self, file):
            self._file, self._room = file, 3000

        def write(self, content):
            self._room -= len(content)
            if self._room < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self._file.write(content)

        def flush(self):
            self._file.flush()

    monkeypatch.setattr(checkpoints, "_Hashed", lambda file: real(Full(file)))
    with pytest.raises(OutputError, match="can't be written: No space left on device"):
        train(decoder(), tmp_path, checkpoint_seconds=0)
    assert set(tmp_path.glob("*")) == {*before, tmp_path / "cost.json"}


def test_half_written_checkpoints_are_not_seen(tmp_path):
    (tmp_path / ".step-000000009-0000000000000000.ckpt.partial").write_bytes(b"x")
    assert newest_checkpoint(tmp_path) is None


@pytest.mark.parametrize("accumulate", [2, 4])
def test_parts_of_a_step_add_up_to_it(tmp_path, accumulate):
    """Prompts are of different lengths, so the parts have different numbers of labels."""
    draw = np.random.default_rng(0)
    lengths = draw.integers(4, 12, 40)
    stops = np.cumsum(lengths)
    spans = np.stack([stops - lengths, stops - draw.integers(1, 4, 40), stops], axis=1)
    ids = draw.integers(2, VOCAB, stops[-1]).astype(np.uint16)
    pairs = PairBatches(ids, spans, pad_id=1, batch_size=8, seed=0)
    whole = train(decoder(), tmp_path / "whole", params=recipe(batch_size=8), batches=pairs)
    params = recipe(batch_size=8, accumulate_batches=accumulate)
    parts = train(decoder(), tmp_path / "parts", params=params, batches=pairs)
    losses = [[loss for _, loss, _ in curves.training] for curves in (whole, parts)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


def test_a_run_in_parts_resumes_at_any_step(tmp_path):
    params = recipe(length="8 steps", accumulate_batches=2, dropout=0.1)
    straight = decoder()
    train(straight, tmp_path / "straight", params=params)
    for at_step in range(2, 9):
        cut = tmp_path / str(at_step)
        with pytest.raises(KeyboardInterrupt):
            tracker = Tracker(at_step, interrupt)
            train(decoder(), cut, params=params, tracker=tracker, checkpoint_seconds=0)
        resumed = decoder(seed=1)
        train(resumed, cut, params=params)
        assert_same(weights(straight), weights(resumed))


def test_a_step_that_cannot_be_dealt_out_is_refused(tmp_path):
    with pytest.raises(ParamsError, match="batch_size 4 must be a multiple of 3"):
        train(decoder(), tmp_path, params=recipe(accumulate_batches=3))


@pytest.mark.filterwarnings("ignore:'pin_memory' argument")
def test_parts_made_beside_a_gpu_are_the_same_parts():
    feed = Feed(blocks(), start=3, stop=6, accumulate=2, rank=1, world_size=2)
    here, beside = (list(feed.loader(is_on_gpu=is_on_gpu)) for is_on_gpu in (False, True))
    assert [(part.step, part.number, part.num_labels) for part in here] == [
        (step, number, 64) for step in (3, 4, 5) for number in (1, 3)
    ]
    for one, other in zip(here, beside, strict=True):
        assert one[1:] == other[1:]
        assert all(torch.equal(one.batch[key], other.batch[key]) for key in one.batch)


def test_labels_are_smoothed_in_training_and_not_in_validation(tmp_path):
    plain = train(decoder(), tmp_path / "plain", params=recipe(lr=1e-9))
    smooth = train(decoder(), tmp_path / "smooth", params=recipe(lr=1e-9, label_smoothing=0.3))
    assert plain.training[0][1] != pytest.approx(smooth.training[0][1], rel=1e-6)
    assert plain.validation[0].loss == pytest.approx(smooth.validation[0].loss, rel=1e-6)


def test_the_best_weights_are_kept_and_patience_ends_the_run(tmp_path):
    """A text learned by heart: the validation loss of another text rises soon."""
    text = np.random.default_rng(0).integers(2, VOCAB, 65).astype(np.uint16)
    batch = BlockBatches(text, block_tokens=16, batch_size=4, seed=0)
    other = np.random.default_rng(1).integers(2, VOCAB, 257).astype(np.uint16)
    held_out = BlockBatches(other, block_tokens=16, batch_size=4, seed=0)
    params = recipe(length="400 steps", lr=0.02, validation_every_steps=10, patience_validations=2)
    model = decoder()
    curves = train(model, tmp_path / "a", params=params, batches=batch, validation=held_out)
    best = curves.best
    assert best is not None
    assert curves.validation[-1].step == best.step + 20 < 400
    assert curves.training[-1][0] == best.step + 20

    same = params.model_copy(update={"lr": 1e-12, "length": Length(10, "steps")})
    again = train(model, tmp_path / "b", params=same, batches=batch, validation=held_out)
    assert again.validation[0].loss == pytest.approx(best.loss, rel=1e-6)

    last = decoder()
    params = params.model_copy(update={"keeps": "last"})
    train(last, tmp_path / "c", params=params, batches=batch, validation=held_out)
    assert not torch.equal(last.lm_head.weight, model.lm_head.weight)


@pytest.mark.parametrize("at_step", [5, 15, 20, 25])
def test_a_run_with_patience_resumes_to_the_same_end(tmp_path, at_step):
    text = np.random.default_rng(0).integers(2, VOCAB, 65).astype(np.uint16)
    batch = BlockBatches(text, block_tokens=16, batch_size=4, seed=0)
    other = np.random.default_rng(1).integers(2, VOCAB, 257).astype(np.uint16)
    held_out = BlockBatches(other, block_tokens=16, batch_size=4, seed=0)
    params = recipe(length="400 steps", lr=0.02, validation_every_steps=10, patience_validations=2)
    common = {"params": params, "batches": batch, "validation": held_out}
    straight, resumed = decoder(), decoder()
    wanted = train(straight, tmp_path / "straight", **common)
    assert wanted.training[-1][0] > at_step
    with pytest.raises(KeyboardInterrupt):
        tracker = Tracker(at_step, interrupt)
        train(decoder(), tmp_path / "cut", tracker=tracker, checkpoint_seconds=0, **common)
    curves = train(resumed, tmp_path / "cut", **common)
    assert curves.validation == wanted.validation
    assert_same(weights(straight), weights(resumed))


def test_a_finished_run_is_taken_up_and_not_trained_further(tmp_path):
    one, other = decoder(), decoder(seed=1)
    wanted = train(one, tmp_path)
    tracker = Tracker()
    assert train(other, tmp_path, tracker=tracker).validation == wanted.validation
    assert tracker.logged == []
    assert_same(weights(one), weights(other))


def test_a_checkpoint_of_something_else_is_refused_with_the_reason(tmp_path):
    mine = {"params": "a", "data": "b", "tokenizer": "c"}
    with pytest.raises(KeyboardInterrupt):
        tracker = Tracker(9, interrupt)
        train(decoder(), tmp_path, tracker=tracker, checkpoint_seconds=0, identity=mine)
    for name in mine:
        with pytest.raises(DataError, match=rf"made with other {name} and is not taken up"):
            train(decoder(), tmp_path, identity={**mine, name: "x"})
    train(decoder(), tmp_path, identity=mine)


def test_dropout_is_of_training_alone(tmp_path):
    losses = [
        train(decoder(), tmp_path / str(rate), params=recipe(dropout=rate)).training[0][1]
        for rate in (0.0, 0.5)
    ]
    assert losses[0] != losses[1]
    model = decoder()
    train(model, tmp_path / "model", params=recipe(dropout=0.5))
    ids = torch.arange(2, 20)[None]
    with torch.no_grad():
        assert torch.equal(model.train()(ids).logits, model.eval()(ids).logits)


def test_gradient_checkpointing_changes_no_loss(tmp_path):
    losses, forwards = [], []
    for is_checkpointed in (False, True):
        model, calls = decoder(), []
        layer = model.model.layers[
            0
        ].mlp  # asked before it works: the second time it may stop early
        layer.register_forward_pre_hook(lambda *_, calls=calls: calls.append(1))
        params = recipe(dropout=0.2, is_gradient_checkpointed=is_checkpointed)
        curves = train(model, tmp_path / str(is_checkpointed), params=params)
        losses.append([loss for _, loss, _ in curves.training])
        forwards.append(len(calls))
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    assert forwards[1] == forwards[0] + 24  # once more in each backward pass


def test_mixed_precision_trains_to_about_the_same_loss(tmp_path):
    losses = [
        train(decoder(), tmp_path / str(name), params=recipe(precision=name)).training[-1][1]
        for name in (32, "bf16-mixed")
    ]
    assert losses[0] != losses[1] == pytest.approx(losses[0], rel=0.05)


def test_bf16_is_chosen_only_where_the_hardware_has_it(monkeypatch):
    assert precision(recipe(), is_on_gpu=False) == "32-true"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    assert precision(recipe(), is_on_gpu=True) == "bf16-mixed"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    assert precision(recipe(), is_on_gpu=True) == "32-true"
    assert precision(recipe(precision=32), is_on_gpu=True) == "32-true"
    with pytest.raises(ParamsError, match="'16-mixed' needs a GPU"):
        precision(recipe(precision="16-mixed"), is_on_gpu=False)


def test_the_peak_is_of_the_very_gpu(monkeypatch):
    named = {
        "NVIDIA H100 80GB HBM3": 989e12,
        "NVIDIA H100 PCIe": 756e12,
        "NVIDIA A100-SXM4-80GB": 312e12,
        "Tesla V100-SXM2-16GB": 125e12,
        "Tesla T4": 65e12,
        "NVIDIA RTX A1000": None,
        "NVIDIA T400 4GB": None,
    }
    for name, peak in named.items():
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda name=name: name)
        assert peak_flops(precision="bf16-mixed", is_on_gpu=True) == peak
    assert peak_flops(precision="bf16-mixed", is_on_gpu=False) is None


def test_speed_is_told_however_readings_and_the_curve_fall_together(tmp_path, monkeypatch):
    """As on a GPU: some steps are read at once, and not each of them is a point of the curve."""
    watch = fitting.Watch
    monkeypatch.setattr(fitting, "Watch", lambda **known: watch(**{**known, "every_steps": 5}))
    monkeypatch.setattr("wordmill.training.monitor._MAX_CURVE_POINTS", 8)
    tracker = Tracker()
    train(decoder(), tmp_path, tracker=tracker)
    told = [step for step, metrics in tracker.logged if "tokens_per_second" in metrics]
    assert told == [3, 9, 15, 18, 24]


def test_the_library_of_training_warns_of_nothing(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(decoder(), tmp_path, params=recipe(length="6 steps"))


def test_a_model_cut_into_parts_becomes_whole_again(tmp_path):
    model, kept = decoder(), weights(decoder())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.data = torch.zeros(0)  # what sharding leaves
    fitting._make_whole(model)
    model.load_state_dict(kept)
    assert_same(weights(model), kept)
    assert model.lm_head.weight is model.model.embed_tokens.weight


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"keeps": "last"}, "keeps: 'last' needs whole weights"), ({}, "'fsdp' needs GPUs")],
)
def test_sharding_that_cannot_be_is_refused(tmp_path, changes, message):
    compute = ComputeParams(**{**SMALL_PARAMS["compute"], "strategy": "fsdp"})
    with pytest.raises(ParamsError, match=message):
        train(decoder(), tmp_path, params=recipe(**changes), compute=compute)


def test_a_process_that_is_lost_asks_to_try_again_and_a_fault_of_ours_does_not(tmp_path):
    def fail(text):
        raise RuntimeError(text)

    lost = "[/x/third_party/gloo/gloo/transport/tcp/pair.cc:538] Connection closed by peer"
    with pytest.raises(TryAgainError, match="another process of this training is gone"):
        train(decoder(), tmp_path / "lost", tracker=Tracker(3, lambda: fail(lost)))
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        train(decoder(), tmp_path / "ours", tracker=Tracker(3, lambda: fail("shapes do not fit")))

"""What a stage took: counters that wrap, meters that are not there, attempts that add up."""

import json
import sys
import time
from types import SimpleNamespace

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
from wordmill.report.record import StageCost
from wordmill.tokens.batches import BlockBatches
from wordmill.training.cost import Counter, Meter, counters, device_name
from wordmill.training.fit import fit
from wordmill.training.given import Data, Place
from wordmill.training.spending import Cost, Spending, kept_cost, new_cost


def zone(folder, name, what, microjoules, *, range_uj=1_000_000_000):
    place = folder / name
    place.mkdir(parents=True)
    (place / "name").write_text(f"{what}\n")
    (place / "energy_uj").write_text(f"{microjoules}\n")
    (place / "max_energy_range_uj").write_text(f"{range_uj}\n")
    return place


def test_packages_are_added_and_their_parts_are_not(tmp_path):
    first = zone(tmp_path, "intel-rapl:0", "package-0", 5_000_000)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 900_000_000)
    zone(tmp_path, "intel-rapl:0:0", "core", 1_000_000)
    zone(tmp_path, "intel-rapl:2", "psys", 1_000_000)
    zone(tmp_path, "intel-rapl-mmio:0", "package-0", 1_000_000)
    (tmp_path / "intel-rapl").mkdir()
    meter = Meter(counters(num_gpus=0, powercap=tmp_path))
    assert meter.read() == 0
    (first / "energy_uj").write_text("7500000\n")
    (second / "energy_uj").write_text("900500000\n")
    assert meter.read() == pytest.approx(3.0)
    assert meter.read() == pytest.approx(3.0)


def test_a_counter_that_starts_again_loses_nothing(tmp_path):
    place = zone(tmp_path, "intel-rapl:0", "package-0", 990_000_000)
    meter = Meter(counters(num_gpus=0, powercap=tmp_path))
    (place / "energy_uj").write_text("20000000\n")  # 10 J up to its range of 1,000 J, then 20 J
    assert meter.read() == pytest.approx(30.0)
    (place / "energy_uj").write_text("25000000\n")
    assert meter.read() == pytest.approx(35.0)


def test_without_a_meter_there_are_no_joules(tmp_path):
    assert Meter(counters(num_gpus=0, powercap=tmp_path / "none")).read() is None
    assert Meter(counters(num_gpus=0, powercap=tmp_path)).read() is None
    place = zone(tmp_path, "intel-rapl:0", "package-0", 1)
    zone(tmp_path, "intel-rapl:1", "package-1", 1)
    (place / "energy_uj").unlink()
    (place / "energy_uj").mkdir()  # can't be read, as for all but root
    assert counters(num_gpus=0, powercap=tmp_path) == []  # half of a machine is no figure


def test_gpus_are_read_through_nvml_by_their_own_names(tmp_path, monkeypatch):
    spent = {"GPU-a": 1_000, "GPU-b": 5_000}

    class NVMLError(Exception):
        pass

    def joules(handle):
        if spent[handle] is None:
            raise NVMLError
        return spent[handle]

    nvml = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda name: name,
        nvmlDeviceGetTotalEnergyConsumption=joules,
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda i: SimpleNamespace(uuid="ba"[i])
    )
    meter = Meter(counters(num_gpus=1, powercap=tmp_path))
    spent |= {"GPU-a": 999_000, "GPU-b": 7_500}
    assert meter.read() == pytest.approx(2.5)  # of the one that torch counts as the first
    spent["GPU-a"] = None
    assert counters(num_gpus=2, powercap=tmp_path) == []
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert counters(num_gpus=1, powercap=tmp_path) == []


def test_a_meter_counts_seconds():
    meter = Meter([])
    time.sleep(0.02)
    assert 0.02 <= meter.seconds < 5


def test_a_device_has_a_name(tmp_path, monkeypatch):
    (tmp_path / "cpus").write_text("processor : 0\nmodel name\t: Fast 9000 \nmodel name\t: Other\n")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert device_name(num_gpus=0, cpus=tmp_path / "cpus") == "Fast 9000, 2 threads"
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert device_name(num_gpus=0, cpus=tmp_path / "none") == "CPU, 1 thread"
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "H100")
    assert device_name(num_gpus=1) == "H100"
    assert device_name(num_gpus=8) == "8 × H100"


def spending(folder, joules):
    """One attempt, whose meter counts from 0 to `joules`."""
    readings = iter([0.0, joules])
    meter = Meter([Counter(lambda: next(readings))] if joules is not None else [])
    meter._since -= 10
    return Spending(folder, stage="pretrain", device="CPU", meter=meter)


def test_attempts_add_up(tmp_path):
    spending(tmp_path, 100.0).keep(4_000)
    spending(tmp_path, 50.0).keep(9_000)
    found = kept_cost(tmp_path)
    assert found.keys() == StageCost.__annotations__.keys() == Cost.__annotations__.keys()
    assert found["seconds"] == pytest.approx(20, abs=1)
    assert (found["tokens"], found["joules"], found["stage"]) == (9_000, 150.0, "pretrain")
    spending(tmp_path, None).keep(9_500)
    assert kept_cost(tmp_path)["joules"] is None  # not all of it was counted
    spending(tmp_path, 50.0).keep(9_900)
    assert kept_cost(tmp_path)["joules"] is None
    assert new_cost(Meter([]), stage="x", device="y", tokens=0)["joules"] is None


class Stops:
    """Takes metrics; stops the run at a step."""

    def __init__(self, at_step):
        self._at_step = at_step

    def log(self, metrics, step):
        if step == self._at_step:
            raise KeyboardInterrupt

    def flush(self):
        pass


def train(scratch, *, at_step=None, **changes):
    torch.set_num_threads(1)
    model = new_model(ModelParams(**SMALL_PARAMS["model"]), Vocabulary(64, 0, 1), seed=1)
    ids = np.random.default_rng(0).integers(2, 64, 400).astype(np.uint16)
    batches = BlockBatches(ids, block_tokens=16, batch_size=4, seed=3)
    params = {**SMALL_PARAMS["pretrain"], "length": "12 steps", "validation_every_steps": 4}
    return fit(
        model,
        PretrainParams(**{**params, **changes}),
        compute=ComputeParams(**SMALL_PARAMS["compute"]),
        data=Data(train=batches, validation=batches),
        place=Place(
            scratch=scratch,
            name="pretrain",
            tracker=Stops(at_step),
            show=nowhere,
            every_seconds=60,
            checkpoint_seconds=0,
        ),
        seed=5,
    )


def test_a_run_says_what_all_its_attempts_took(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, at_step=7)
    first = kept_cost(tmp_path)
    assert first["stage"] == "pretrain"
    assert 0 < first["tokens"] <= 7 * 4 * 16
    assert first["seconds"] > 0
    told = {**first, "seconds": 1000.0}
    (tmp_path / "cost.json").write_text(json.dumps(told))
    train(tmp_path)
    last = kept_cost(tmp_path)
    assert last["tokens"] == 12 * 4 * 16
    assert 1000 < last["seconds"] < 1060


def test_a_run_that_ends_early_counts_the_steps_it_made(tmp_path):
    curves = train(tmp_path, patience_validations=1, lr=1e-12, length="40 steps")
    steps = curves.validation[-1].step
    assert steps < 40
    assert kept_cost(tmp_path)["tokens"] == steps * 4 * 16

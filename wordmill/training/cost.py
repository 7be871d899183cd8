"""What work takes: seconds, and joules where the machine tells.

Processors: the packages of Intel's and AMD's RAPL, which Linux shows under /sys/class/powercap,
mostly to root alone. GPUs: NVML's total energy counter, where pynvml is installed. Both count all
that runs on the device, whoever started it. A counter of RAPL starts again at its range, on a busy
machine after some minutes: `read` it more often than that.
"""

from __future__ import annotations

import importlib
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

_POWERCAP = Path("/sys/class/powercap")
_PACKAGE = re.compile(r"(intel|amd)-rapl:\d+")  # what has one more number is a part of it
_CPUS = Path("/proc/cpuinfo")


class Counter(NamedTuple):
    """A counter of energy that only grows, but for starting again."""

    joules: Callable[[], float]
    range_joules: float | None = None
    """Where it starts again; None if it never does."""


class Meter:
    """Counts from when it is made.

    Args:
        counters: read each time; none of them, and there are no joules.
    """

    def __init__(self, counters: list[Counter]) -> None:
        self._counters = counters
        self._last = [counter.joules() for counter in counters]
        self._joules = 0.0
        self._since = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since it was made."""
        return time.monotonic() - self._since

    def read(self) -> float | None:
        """Joules since it was made, None where nothing counts them."""
        for place, counter in enumerate(self._counters):
            now = counter.joules()
            spent = now - self._last[place]
            if spent < 0:
                spent += counter.range_joules or 0.0
            self._joules += max(spent, 0.0)
            self._last[place] = now
        return self._joules if self._counters else None


def counters(*, num_gpus: int, powercap: Path = _POWERCAP) -> list[Counter]:
    """What can be read here; a kind that can't be read in full is left out.

    Args:
        num_gpus: of this machine that are used, the first ones that torch sees; 0 for none.
        powercap: where Linux shows RAPL.
    """
    return [*_of_processors(powercap), *_of_gpus(num_gpus)]


def device_name(*, num_gpus: int, cpus: Path = _CPUS) -> str:
    """The device that works, for people."""
    if num_gpus:
        name = torch.cuda.get_device_name(0)
        return f"{num_gpus} × {name}" if num_gpus > 1 else name
    told = cpus.read_text(errors="replace") if cpus.exists() else ""
    model = re.search(r"^model name\s*:\s*(.+)$", told, re.MULTILINE)
    threads = torch.get_num_threads()
    return f"{model[1].strip() if model else 'CPU'}, {threads} thread{'s' * (threads > 1)}"


def _of_processors(powercap: Path) -> list[Counter]:
    found: list[Counter] = []
    zones = sorted(powercap.iterdir()) if powercap.is_dir() else []
    for zone in zones:
        # A machine may have a zone of its own that the packages are a part of.
        if not _PACKAGE.fullmatch(zone.name) or "package" not in _read(zone / "name"):
            continue
        range_joules = _read(zone / "max_energy_range_uj")
        if not _read(zone / "energy_uj").isdigit() or not range_joules.isdigit():
            return []
        found.append(Counter(_package_joules(zone), int(range_joules) / 1e6))
    return found


def _package_joules(zone: Path) -> Callable[[], float]:
    return lambda: int((zone / "energy_uj").read_text()) / 1e6


def _read(path: Path) -> str:
    """A file of the kernel's, empty where it is not for us."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _of_gpus(num_gpus: int) -> list[Counter]:
    if num_gpus == 0:
        return []
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ImportError:
        return []
    try:
        nvml.nvmlInit()
        # NVML's order is not torch's, nor does it leave out what is hidden.
        names = [f"GPU-{torch.cuda.get_device_properties(i).uuid}" for i in range(num_gpus)]
        handles = [nvml.nvmlDeviceGetHandleByUUID(name) for name in names]
        found = [Counter(_gpu_joules(nvml, handle)) for handle in handles]
        for counter in found:
            counter.joules()
    except nvml.NVMLError:  # an old GPU has no such counter
        return []
    return found


def _gpu_joules(nvml: Any, handle: Any) -> Callable[[], float]:
    return lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3

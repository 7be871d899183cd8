"""What a run runs on: packages, Python, processor, threads, GPUs and their driver."""

import os
import platform
import re
import subprocess
from importlib.metadata import distributions
from pathlib import Path
from typing import TypedDict

_CPUS = Path("/proc/cpuinfo")
_GPU_QUERY = ("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
_GPU_SECONDS = 20


class Software(TypedDict):
    """Whose code ran beside ours."""

    python: str
    """Such as `CPython 3.11.7`."""
    packages: dict[str, str]
    """Everything installed: name -> version."""


class Machine(TypedDict):
    """What decides a result's last bits beside the code."""

    system: str
    cpu: str
    instructions: str
    """The widest ones that torch uses, such as `AVX512`."""
    cores: int
    threads: int
    """That torch computes with."""
    gpus: list[str]
    driver: str
    """Of the GPUs; empty without one."""


def software() -> Software:
    """The interpreter and all packages that it sees."""
    named = ((one.metadata["Name"], one.version) for one in distributions())
    found = {name.lower().replace("_", "-"): version for name, version in named if name}
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return Software(python=python, packages=dict(sorted(found.items())))


def machine() -> Machine:
    """This machine, as training sees it."""
    import torch  # seconds, and whoever asks has a model in its hands

    gpus, driver = _gpus()
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        cpu=_cpu(),
        instructions=torch.backends.cpu.get_cpu_capability(),
        cores=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        gpus=gpus,
        driver=driver,
    )


def _cpu() -> str:
    try:
        told = _CPUS.read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    name = re.search(r"^model name\s*:\s*(.+)$", told, re.MULTILINE)
    return name[1].strip() if name else platform.processor()


def _gpus() -> tuple[list[str], str]:
    """Names of the GPUs and the version of their driver."""
    try:
        told = subprocess.run(
            _GPU_QUERY, capture_output=True, text=True, check=True, timeout=_GPU_SECONDS
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return [], ""
    rows = [line.rpartition(", ") for line in told.splitlines() if line]
    return [name for name, _, _ in rows], rows[0][2] if rows else ""

"""A stage that SLURM asks to end, by SIGUSR1, saves itself and goes back into the queue.

`sbatch --signal=USR1@120` sends it two minutes before the time is up. Nothing happens where no
SLURM job runs.
"""

import logging
import os
import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager

from stages.stage import is_first
from wordmill.errors import TryAgainError

log = logging.getLogger("stages")


@contextmanager
def requeued() -> Generator[None]:
    """Turn SIGUSR1 into SIGTERM, after which training has saved itself, and queue the job again."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        yield
        return
    was_asked = False

    def ask(*_: object) -> None:
        nonlocal was_asked
        was_asked = True
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGUSR1, ask)
    try:
        yield
    except TryAgainError:
        if was_asked and is_first():
            _requeue(job)
        raise
    finally:
        signal.signal(signal.SIGUSR1, before)


def _requeue(job: str) -> None:
    try:
        done = subprocess.run(
            ["scontrol", "requeue", job], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        log.warning("job %s is not queued again: scontrol is not on the PATH", job)
        return
    if done.returncode:
        log.warning("job %s is not queued again: scontrol says %s", job, done.stderr.strip())
    else:
        log.info("job %s is queued again", job)

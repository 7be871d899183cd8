import os
import signal

import pytest

from stages.slurm import requeued
from wordmill.errors import TryAgainError


@pytest.fixture
def scontrol(tmp_path, monkeypatch):
    """A job, and an scontrol that writes down what it is asked."""
    program = tmp_path / "scontrol"
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    return tmp_path / "asked"


def stop_by(sign):
    """What training does on SIGTERM: it saves itself and asks to be tried again."""

    def save(*_):
        raise TryAgainError("stopped by SIGTERM")

    before = signal.signal(signal.SIGTERM, save)
    try:
        with pytest.raises(TryAgainError), requeued():
            os.kill(os.getpid(), sign)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_job_whose_time_is_up_is_queued_again(scontrol):
    stop_by(signal.SIGUSR1)
    assert scontrol.read_text() == "requeue 42\n"
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL


def test_a_job_that_is_cancelled_is_not(scontrol):
    stop_by(signal.SIGTERM)
    assert not scontrol.exists()


def test_one_process_asks_for_all(scontrol, monkeypatch):
    monkeypatch.setenv("SLURM_PROCID", "3")
    stop_by(signal.SIGUSR1)
    assert not scontrol.exists()


def test_a_missing_or_failing_scontrol_is_a_warning(scontrol, monkeypatch, caplog):
    (scontrol.parent / "scontrol").write_text("#!/bin/sh\necho no such job >&2\nexit 1\n")
    stop_by(signal.SIGUSR1)
    monkeypatch.setenv("PATH", "/nowhere")
    stop_by(signal.SIGUSR1)
    assert "scontrol says no such job" in caplog.text
    assert "scontrol is not on the PATH" in caplog.text


def test_without_a_job_nothing_happens(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with requeued():
        assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL

"""Stages' processes: forked from one that has DVC imported, each like one of its own."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import ROOT

from flows.starter import Starter

DAG = """
stages:
  say: {cmd: 'echo said && echo $GIVEN > said.txt', params: [a], outs: [said.txt]}
  fail: {cmd: exit 7, params: [a]}
  wait: {cmd: 'echo waits && exec sleep 60', params: [a]}
  leave: {cmd: 'sleep 60 & echo left', params: [a]}
"""


@pytest.fixture
def starter(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    for folder in (".dvc", ".git"):
        Path(folder).mkdir()
    subprocess.run(["git", "init", "-q"], check=True)
    Path("dvc.yaml").write_text(DAG)
    Path("params.yaml").write_text("a: 1\n")
    with Starter() as found:
        yield found


def run(starter: Starter, stage: str, **extra: str) -> tuple[int, str]:
    with starter.child(stage, is_forced=False, environment={**os.environ, **extra}) as child:
        said = child.stdout.read()
        return child.wait(), said


def test_stages_run_as_programs_of_their_own(starter):
    status, said = run(starter, "say", GIVEN="one")
    assert (status, Path("said.txt").read_text()) == (0, "one\n")
    assert "said" in said
    status, said = run(starter, "fail")
    assert status == 1
    assert "exited with 7" in said.splitlines()[-1]

    with starter.child("wait", is_forced=False, environment=dict(os.environ)) as child:
        while "waits" not in child.stdout.readline():
            pass
        assert os.getpgid(child.pid) == child.pid != os.getpgid(0)
        assert child.poll() is None
        os.kill(child.pid, signal.SIGKILL)
        assert child.wait() == child.poll() == child.returncode == -signal.SIGKILL

    with starter.child("leave", is_forced=False, environment=dict(os.environ)) as child:
        group = child.pid
        assert child.wait() == 0
        os.killpg(group, 0)  # what the stage has left behind
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)

    # The one that forks is killed, with a stage at work and without.
    with starter.child("wait", is_forced=False, environment=dict(os.environ)) as child:
        parent = int(Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(parent, signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        stage = child.pid
    time.sleep(0.1)
    assert not Path(f"/proc/{stage}").exists()
    Path("said.txt").unlink()
    assert run(starter, "say", GIVEN="two")[0] == 0

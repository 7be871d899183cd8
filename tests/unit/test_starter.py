"""Stages' processes: forked from one that has DVC imported, each like one of its own."""

import os
import signal
import subprocess
import sys
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


# As MLflow's server is: it passes SIGTERM on, ends when its child has, and knows no leader.
SERVER = """
import signal, subprocess, sys
child = subprocess.Popen(["sleep", "60"])
signal.signal(signal.SIGTERM, lambda *_: child.terminate())
print(child.pid, *sys.argv[1:], flush=True)
sys.exit(child.wait())
"""
SERVING = """
import os, sys, time
from flows import ui
with ui.outsider("like_a_server", "--port", "1", environment=dict(os.environ)) as server:
    print(server.pid, flush=True)
    time.sleep(60)
"""


def test_a_server_does_not_outlive_whoever_started_it(tmp_path):
    (tmp_path / "like_a_server.py").write_text(SERVER)
    told = {**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    command = [sys.executable, "-c", SERVING]
    with subprocess.Popen(command, env=told, stdout=subprocess.PIPE, text=True) as starter:
        (server,), (child, *arguments) = sorted(
            (line.split() for line in lines_of(starter)), key=len
        )
        assert arguments == ["--port", "1"]
        starter.kill()
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in (server, child)):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def lines_of(started: subprocess.Popen[str]) -> list[str]:
    return [started.stdout.readline() for _ in range(2)]


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

"""What a kill left and how it is mended, and a cancel that comes from Prefect's page."""

import json
import os
import signal
import subprocess
import time
from contextlib import contextmanager
from types import SimpleNamespace
from uuid import uuid4

import pytest
from httpx import ConnectError
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import TerminationSignal
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.utilities.engine import capture_sigterm

from flows import cancel, recovery
from flows.cancel import CancelError, cancellable
from flows.workspace import only_one
from wordmill.errors import TryAgainError


def busy(folder, pid) -> None:
    owner = {"pid": pid, "cmd": "dvc repro"}
    kept = {"write": {"data/x": owner}, "read": {"data/y": [owner]}}
    (folder / "rwlock").write_text(json.dumps(kept))


def test_a_list_of_busy_paths_that_was_cut_off_is_removed(tmp_path):
    assert recovery.repair_dvc(tmp_path) == []
    for text in ("", '{"write": {"a"', "[]", '{"write": {"a": {}}}'):
        (tmp_path / "rwlock").write_text(text)
        assert "cut off" in recovery.repair_dvc(tmp_path)[0]
        assert not (tmp_path / "rwlock").exists()


def test_paths_of_the_dead_are_free_and_those_of_the_living_are_not(tmp_path):
    busy(tmp_path, os.getpid())
    assert recovery.repair_dvc(tmp_path) == []
    assert "data/x" in (tmp_path / "rwlock").read_text()
    dead = subprocess.Popen(["true"])  # it stays a zombie until it is waited for
    os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
    busy(tmp_path, dead.pid)
    assert "processes that are gone" in recovery.repair_dvc(tmp_path)[0]
    assert "data" not in (tmp_path / "rwlock").read_text()
    dead.wait()


def test_a_process_with_the_number_of_a_dead_one_owns_nothing(tmp_path):
    busy(tmp_path, os.getpid())
    os.utime(tmp_path / "rwlock", (1e9, 1e9))  # written long before this process began
    assert len(recovery.repair_dvc(tmp_path)) == 1
    assert "data" not in (tmp_path / "rwlock").read_text()


def test_a_list_that_somebody_holds_is_asked_for_again(tmp_path, monkeypatch):
    from dvc.lock import make_lock

    monkeypatch.setattr("dvc.lock.DEFAULT_TIMEOUT", 0.1)
    busy(tmp_path, os.getpid())
    held = make_lock(str(tmp_path / "rwlock.lock"), str(tmp_path))
    with held, pytest.raises(TryAgainError, match="dvc: Unable to acquire lock"):
        recovery.repair_dvc(tmp_path)


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def test_half_written_outputs_are_removed_and_named(data):
    assert recovery.repair_outputs() == []
    (data / ".pretrain.partial/model").mkdir(parents=True)
    (data / "clean").mkdir()
    (data / ".clean.replaced").mkdir()
    assert recovery.repair_outputs() == [
        "Repaired: data/.clean.replaced was half-written; it is removed.",
        "Repaired: data/.pretrain.partial was half-written; it is removed.",
    ]
    assert [path.name for path in data.iterdir()] == ["clean"]


def test_what_was_moved_aside_for_an_output_that_never_came_is_put_back(data):
    (data / ".clean.replaced").mkdir()
    (data / ".clean.replaced/x").touch()
    assert recovery.repair_outputs() == ["Repaired: data/clean was moved aside; it is back."]
    assert (data / "clean/x").exists()


def test_a_stage_at_work_keeps_what_it_writes(data):
    (data / ".pretrain.partial").mkdir()
    with only_one("pretrain", otherwise="busy"):
        assert recovery.repair_outputs() == []
    assert (data / ".pretrain.partial").exists()


class _Server:
    """As much of Prefect's server as recovery and cancel ask for: one run and its state."""

    def __init__(self, kind: StateType) -> None:
        self.state, self.is_away = State(type=kind), False
        self.ended: list[str] = []

    def read_flow_run(self, run_id) -> SimpleNamespace:
        if self.is_away:
            raise ConnectError("away")
        return SimpleNamespace(id=run_id, name="quick-fox", state=self.state)

    def set_flow_run_state(self, _, state, *, force) -> None:
        assert force
        self.ended.append(state.name)

    def read_task_runs(self, **_) -> list:
        return []

    @contextmanager
    def client(self, *, sync_client):
        assert sync_client
        yield self


@pytest.mark.parametrize(
    ("kind", "ended", "was"),
    [
        (StateType.RUNNING, ["Crashed"], "running"),
        (StateType.PENDING, ["Crashed"], "running"),
        (StateType.CANCELLING, ["Cancelled"], "being cancelled"),
        (StateType.COMPLETED, [], None),
    ],
)
def test_a_run_whose_process_is_gone_is_ended_named_and_told(monkeypatch, kind, ended, was):
    told: list[str] = []
    monkeypatch.setattr(recovery, "tell", lambda _, run, state: told.append(state.name))
    server = _Server(kind)
    line = recovery.end_gone(server, uuid4())
    assert server.ended == told == ended
    assert line is None if was is None else f"quick-fox was still {was} in Prefect" in line


@pytest.fixture
def page(monkeypatch):
    """A server with a page; the flow asks it often."""
    server = _Server(StateType.RUNNING)
    monkeypatch.setattr(cancel, "get_client", server.client)
    monkeypatch.setattr(cancel, "_POLL_SECONDS", 0.01)
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}), capture_sigterm():
        yield server


def wait_for_the_signal() -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        time.sleep(0.01)
    pytest.fail("no signal came")


@pytest.mark.parametrize("kind", [StateType.CANCELLING, StateType.CANCELLED])
def test_a_cancel_ends_the_block(page, kind):
    page.state = State(type=kind)
    cancelled = pytest.raises(CancelError, match="cancelled on Prefect's page")
    with cancelled as told, cancellable(uuid4()):
        wait_for_the_signal()
    assert told.value.exit_status == 143


def test_without_a_cancel_the_block_goes_on_also_where_the_server_is_away(page):
    page.is_away = True
    with cancellable(uuid4()):
        time.sleep(0.05)
    page.is_away, page.state = False, State(type=StateType.CANCELLING)
    time.sleep(0.05)  # too late: the block has ended


def test_another_signal_is_no_cancel(page):
    with pytest.raises(TerminationSignal), cancellable(uuid4()):
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for_the_signal()


def test_nobody_is_asked_where_there_is_no_page(monkeypatch):
    monkeypatch.setattr(cancel, "get_client", lambda **_: pytest.fail("asked"))
    with temporary_settings(restore_defaults={PREFECT_API_URL}), cancellable(uuid4()):
        pass

"""When to start, how long, what again and whom to tell: the logic of each."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import pytest
from inboxes import mailbox, webhook
from prefect.client.schemas.objects import State, StateType

from flows import notify, pipeline, retries
from flows.batch import batch
from flows.budget import Budget, OutOfTimeError
from flows.gate import _check
from flows.group import group
from flows.missed import covers, settle
from flows.pipeline import Outcome, _outcome, _stopped, run_stage
from flows.registry import Standing
from flows.retrain import _ended
from flows.schedule import Plan, next_start, planned
from flows.summary import Summary
from flows.workspace import BusyError, check_room, only_one
from wordmill.errors import OutputError, ParamsError

# Apprise imports all its services at the first message.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)


def plan(**given) -> Plan:
    return planned(**{"cron": None, "every": None, "timezone": "UTC", "hours": None, **given})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "got neither"),
        ({"cron": "0 3 * * *", "every": "6h"}, "got both"),
        ({"cron": "0 3 * *"}, "is no cron line"),
        ({"cron": "0 25 * * *"}, "is no cron line"),
        ({"cron": "0 3 * * *", "timezone": "Europe/Berln"}, "did you mean Europe/Berlin?"),
        ({"cron": "0 3 * * *", "timezone": "../x"}, "there is no zone"),
        ({"every": "6"}, "such as 30m or 6h"),
        ({"every": "0h"}, "such as 30m or 6h"),
        ({"every": "-1h"}, "such as 30m or 6h"),
    ],
)
def test_a_wrong_plan_is_told_in_one_line(given, message):
    with pytest.raises(ParamsError, match=message.replace("?", r"\?")) as told:
        plan(**given)
    assert "\n" not in str(told.value)


def test_a_day_that_never_comes_is_told():
    with pytest.raises(ParamsError, match="no such day"):
        next_start(plan(cron="0 0 30 2 *"), after=NOON)


def test_the_next_start_is_in_the_zone_asked_for():
    berlin = plan(cron="0 3 * * *", timezone="Europe/Berlin")
    assert next_start(berlin, after=NOON).isoformat() == "2026-07-02T03:00:00+02:00"
    assert next_start(plan(cron="0 3 * * *"), after=NOON).isoformat() == "2026-07-02T03:00:00+00:00"


@pytest.mark.parametrize(
    ("cron", "after", "starts"),
    [
        ("15 1 * * *", "2026-03-28T00:15", ["03-29T00:15", "03-29T23:15", "03-30T23:15"]),
        ("0 0 * * 0", "2026-03-22T00:00", ["03-28T23:00", "04-04T22:00", "04-11T22:00"]),
        ("0 3 * * *", "2026-10-24T01:00", ["10-25T02:00", "10-26T02:00"]),
        # An hour that is left out, and one that comes twice.
        ("30 2 * * *", "2026-03-28T01:30", ["03-29T01:30", "03-30T00:30"]),
        ("30 2 * * *", "2026-10-24T00:30", ["10-25T00:30", "10-26T01:30"]),
        ("*/30 * * * *", "2026-10-25T01:10", ["10-25T01:30", "10-25T02:00"]),
    ],
)
def test_a_cron_line_keeps_the_clock_of_its_zone_where_that_is_put_on_or_back(cron, after, starts):
    berlin, at = plan(cron=cron, timezone="Europe/Berlin"), datetime.fromisoformat(f"{after}+00:00")
    found = [at := next_start(berlin, after=at).astimezone(UTC) for _ in starts]
    assert [f"{one:%m-%dT%H:%M}" for one in found] == starts


@pytest.mark.parametrize(("minutes", "next_hour"), [(0, 18), (1, 18), (5 * 60 + 59, 18), (360, 24)])
def test_intervals_do_not_count_from_when_the_process_began(minutes, next_hour):
    start = next_start(plan(every="6h"), after=NOON + timedelta(minutes=minutes))
    assert start == datetime(2026, 7, 1, tzinfo=UTC) + timedelta(hours=next_hour)


def test_a_budget_runs_out():
    assert Budget(None).seconds_left is None
    assert not Budget(None).is_over
    assert not Budget(1.0).is_over
    assert Budget(1.0).seconds_left == pytest.approx(3600, abs=1)
    assert Budget(1.0, time.monotonic() - 3601).is_over


# What a stage's leader is to the budget: it starts a child and hears how it ends.
LEADER = """
import subprocess, sys, time
from flows.group import lead
lead()
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
print(f"ended {child.wait()}", flush=True)
"""
GENTLE = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
print("up", flush=True)
time.sleep(60)
"""
DEAF = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(os.getpid(), flush=True)
time.sleep(60)
"""


def led(code: str):
    command = [sys.executable, "-c", LEADER, code]
    environment = {**os.environ, "PYTHONPATH": "."}
    return group(command, environment=environment, output=subprocess.PIPE, grace_seconds=0.5)


def test_a_job_outside_of_the_dag_is_stopped_by_its_budget(tmp_path, monkeypatch):
    (tmp_path / "slow_job.py").write_text("import time\nprint('up', flush=True)\ntime.sleep(60)\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}.")
    outside = [sys.executable, "-m", "flows.outsider", "slow_job"]
    monkeypatch.setattr(pipeline, "_outside", lambda _: outside)
    words: list[str] = []
    given = {"why": [], "is_forced": False, "parent_run": "", "log": words.append, "starter": None}
    started_at = time.monotonic()
    found = run_stage("gate", budget=Budget(2 / 3600), **given)
    assert time.monotonic() - started_at < 30
    assert found.verdict == "stopped"
    with pytest.raises(OutOfTimeError, match="the next start asks it again"):
        _check(found)


def test_a_run_whose_gate_was_stopped_is_stopped_and_one_that_it_held_is_held():
    standing = Standing(version="2", alias="", is_new=True, champion="1", run_id=None)
    late = Summary(model="m", pipeline_run="x", standing=standing, is_out_of_time=True)
    assert (_ended(late).name, _ended(late).data) == ("Stopped", 75)
    held = replace(standing, is_new=False)  # by the next start
    said = Summary(model="m", pipeline_run="x", standing=held, is_judged=True)
    assert _ended(said).name == "Held"
    assert _ended(replace(said, is_judged=False)).name == "Completed"


def test_the_stage_hears_of_the_end_and_its_leader_of_the_stage():
    with led(GENTLE) as child:
        assert child.stdout.readline() == "up\n"
        with Budget(1e-9).over(child):
            assert child.stdout.read() == "ended 75\n"
            assert child.wait() == 0


def test_a_stage_that_ignores_sigterm_ends_with_its_flow():
    with led(DEAF) as child:
        deaf = Path(f"/proc/{int(child.stdout.readline())}/stat")
        assert deaf.exists()
    assert not deaf.exists() or ") Z " in deaf.read_text()  # its new parent may be slow to wait
    assert child.poll() is not None


def outcome(**given) -> Outcome:
    return Outcome(**{"stage": "pretrain", "verdict": "failed", "why": ["forced"], **given})


def state_of(found: Outcome) -> SimpleNamespace:
    return SimpleNamespace(data=found)


@pytest.mark.parametrize(
    ("given", "is_tried_again"),
    [
        ({"exit_status": -9}, True),
        ({"exit_status": 75}, True),
        ({"exit_status": 65}, False),
        ({"exit_status": 2}, False),
        ({"exit_status": 73}, False),
        ({"exit_status": 1}, False),
        ({"exit_status": 75, "verdict": "stopped"}, False),
    ],
)
def test_only_what_passes_is_tried_again(given, is_tried_again):
    assert retries.may_pass(None, None, state_of(outcome(**given))) is is_tried_again


def test_waits_grow_and_are_longer_where_a_server_is_asked(monkeypatch):
    monkeypatch.delenv("WORDMILL_RETRY_SECONDS", raising=False)
    assert retries.waits("ingest") == [10, 40, 160]
    assert retries.waits("pretrain") == [1, 4, 16]
    monkeypatch.setenv("WORDMILL_RETRY_SECONDS", "0.5")
    assert retries.waits("ingest") == [0.5, 2, 8]


@pytest.mark.parametrize("told", ["soon", "-1", "inf", "nan"])
def test_a_first_wait_that_is_none_is_told(monkeypatch, told):
    monkeypatch.setenv("WORDMILL_RETRY_SECONDS", told)
    with pytest.raises(ParamsError, match=f"WORDMILL_RETRY_SECONDS is {told}; it has to be"):
        retries.waits("ingest")


@pytest.mark.parametrize(
    ("last_lines", "status"),
    [
        (["x", "dvc: failed to run: exec python, exited with -9"], -9),
        (["MemoryError", "dvc: failed to run: exec python, exited with 1"], 75),
        (["torch.OutOfMemoryError: CUDA", "dvc: failed to run: x, exited with 1"], 75),
        (["ValueError", "dvc: failed to run: exec python, exited with 1"], 1),
        ([], 1),
    ],
)
def test_kills_and_lack_of_memory_are_told_from_faults(last_lines, status):
    found = _outcome("pretrain", ["x"], 1, None, last_lines=last_lines, seconds=1.0)
    assert found.exit_status == status


def test_what_a_budget_stopped_has_not_failed():
    found = _stopped(outcome(exit_status=75), Budget(2.0))
    assert (found.verdict, found.exit_status) == ("stopped", 75)
    assert "its budget of 2 h; its checkpoint is kept" in found.message
    assert "begins again" in _stopped(outcome(exit_status=-15), Budget(2.0)).message


def test_one_lock_one_owner_and_it_says_who(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = pytest.raises(BusyError, match=rf"busy \(process {os.getpid()}\)")
    with only_one("flow", otherwise="busy"), told, only_one("flow", otherwise="busy"):
        pass
    with only_one("flow", otherwise="busy"):
        pass


def test_a_full_disk_is_a_line_before_anything_begins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_room()
    full = SimpleNamespace(free=3 << 20)
    monkeypatch.setattr("shutil.disk_usage", lambda _: full)
    with pytest.raises(OutputError, match="3 MiB are free on this disk; make room first"):
        check_room()


def start(minutes: int, state: str, kind: StateType) -> SimpleNamespace:
    return SimpleNamespace(
        id=uuid4(),
        expected_start_time=NOON + timedelta(minutes=minutes),
        state=State(type=kind, name=state),
    )


def test_of_seven_late_starts_one_does_the_work():
    late = [start(minute, "Running", StateType.RUNNING) for minute in range(7)]
    working = [mine for mine in late if not any(covers(other, mine) for other in late)]
    assert working == late[:1]


def test_a_skipped_start_makes_up_for_nothing_and_one_that_ended_does():
    mine = start(0, "Running", StateType.RUNNING)
    assert not covers(start(-1, "Skipped", StateType.COMPLETED), mine)
    assert not covers(start(1, "Running", StateType.RUNNING), mine)
    assert covers(start(1, "Completed", StateType.COMPLETED), mine)
    assert not covers(mine, mine)


class _Server:
    """As much of Prefect's server as `settle` asks for: planned starts, which it can delete."""

    def __init__(self, minutes: list[int]) -> None:
        now = datetime.now(UTC)
        self.runs = {uuid4(): now + timedelta(minutes=minute) for minute in minutes}

    def read_flow_runs(self, **_) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(id=known, expected_start_time=due) for known, due in self.runs.items()
        ]

    def delete_flow_run(self, run_id) -> None:
        del self.runs[run_id]


@pytest.mark.parametrize(("minutes", "is_missed"), [([], False), ([5], False), ([-5], True)])
def test_a_planned_start_whose_time_has_passed_was_missed(minutes, is_missed):
    server = _Server(minutes)
    due = next(iter(server.runs.values()), None)
    assert settle(server, uuid4(), is_idle=False) == (due if is_missed else None)
    assert server.runs == {}  # the next one is planned anew


@pytest.fixture(params=[webhook, mailbox])
def inbox(request):
    with request.param() as server:
        yield server


def ended(name: str, message: str, flow=None):
    run = SimpleNamespace(name="quick-fox", id=uuid4())
    notify.tell(flow, run, SimpleNamespace(name=name, message=message))


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("Failed", "retraining failed"),
        ("Crashed", "retraining failed"),
        ("Rejected", "data rejected"),
        ("Promoted", "a new champion"),
        ("Held", "a new challenger"),
        ("Skipped", "retraining skipped"),
        ("Stopped", "stopped by its budget"),
    ],
)
def test_every_end_worth_telling_is_delivered(inbox, monkeypatch, name, title):
    monkeypatch.setenv(notify.ADDRESSES, inbox.address)
    monkeypatch.delenv(notify.OCCASIONS, raising=False)
    ended(name, "ingest failed: texts.jsonl:301: not valid JSON")
    (taken,) = inbox.taken
    assert title in taken.partition("\n")[0]
    assert "texts.jsonl:301" in taken
    assert "quick-fox" in taken


def test_a_batch_that_failed_is_told_as_one(inbox, monkeypatch):
    monkeypatch.setenv(notify.ADDRESSES, inbox.address)
    monkeypatch.delenv(notify.OCCASIONS, raising=False)
    ended("Failed", "in.jsonl: no such file", batch)
    (taken,) = inbox.taken
    assert "batch failed" in taken.partition("\n")[0]


def test_no_address_no_message_and_only_what_was_asked_for(inbox, monkeypatch):
    monkeypatch.delenv(notify.ADDRESSES, raising=False)
    ended("Failed", "x")
    monkeypatch.setenv(notify.ADDRESSES, inbox.address)
    ended("Nothing new", "x")
    ended("Cancelled", "x")
    monkeypatch.setenv(notify.OCCASIONS, "failed, rejected")
    ended("Skipped", "x")
    assert inbox.taken == []
    ended("Rejected", "x")
    assert len(inbox.taken) == 1


def test_a_comma_within_an_address_parts_nothing(monkeypatch):
    taken: list[str] = []
    monkeypatch.setattr(notify, "_sent", lambda address, *_: not taken.append(address))
    told = "mailtos://u:p@h?to=a@x.org,b@x.org, json://h/hook block:slack-webhook/team,slack://A/B,"
    monkeypatch.setenv(notify.ADDRESSES, told)
    assert notify.send("title", "body") == 4
    assert taken == [
        "mailtos://u:p@h?to=a@x.org,b@x.org",
        "json://h/hook",
        "block:slack-webhook/team",
        "slack://A/B",
    ]


@pytest.mark.parametrize(
    "address", ["json://user:secret@127.0.0.1:1/hook", "nonsense", "odd://x", "block:json/none"]
)
def test_what_cannot_be_delivered_warns_without_its_secrets(monkeypatch, caplog, address):
    monkeypatch.setenv(notify.ADDRESSES, address)
    monkeypatch.setattr(notify.log, "propagate", True)
    if address.startswith("block:"):
        monkeypatch.setattr("prefect.blocks.core.Block.load", lambda _: 1 / 0)
    assert notify.send("title", "body") == 0
    told = [r.getMessage() for r in caplog.records if r.name == notify.log.name]
    assert len(told) == 1
    assert "no notification to" in told[0]
    assert "secret" not in told[0]


def test_sigusr1_is_what_passes_sigterm_on():
    with led(GENTLE) as child:
        child.stdout.readline()
        os.kill(child.pid, signal.SIGUSR1)
        assert child.stdout.read() == "ended 75\n"

"""Data on its way to DVC's remote: a real one in a folder, and what is worth another try."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from flows.budget import Budget
from flows.push import check_remote, push
from wordmill.errors import ParamsError

# DVC's own use of pygtrie is deprecated there.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture
def project(tmp_path, monkeypatch):
    place = tmp_path / "project"
    (place / ".dvc").mkdir(parents=True)
    monkeypatch.chdir(place)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    subprocess.run(["git", "init", "-q"], check=True)
    return place


def remote(place: Path) -> None:
    config = (
        f'[core]\n    remote = there\n    analytics = false\n[remote "there"]\n    url = {place}\n'
    )
    Path(".dvc/config").write_text(config)


def test_no_default_remote_is_told_before_anything_runs(project, tmp_path):
    with pytest.raises(ParamsError, match="no default remote; `dvc remote add --default"):
        check_remote()
    remote(tmp_path / "remote")
    check_remote()
    Path(".dvc/config").write_text("[core]\nnonsense = 1\n")
    with pytest.raises(ParamsError) as told:
        check_remote()
    assert "\n" not in str(told.value)


def test_a_real_remote_gets_what_it_lacks(project, tmp_path):
    remote(tmp_path / "remote")
    stage = "stages:\n  make:\n    cmd: echo x > made\n    outs: [made]\n"
    Path("dvc.yaml").write_text(stage)
    code = "from dvc.repo import Repo\nwith Repo() as repo: repo.reproduce()"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    first = push(log=print, budget=Budget(None))
    assert (first.verdict, first.message) == ("ran", "1 files pushed")
    assert len([f for f in (tmp_path / "remote").rglob("*") if f.is_file()]) == 1
    Path(tmp_path / "file").touch()
    remote(tmp_path / "file")
    failed = push(log=print, budget=Budget(None))
    assert (failed.verdict, failed.may_pass) == ("failed", False)
    assert "\n" not in failed.message
    assert push(log=print, budget=Budget(1e-9)).verdict == "stopped"


class EndpointConnectionError(Exception):
    """As botocore's is called."""


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("errors", "status"),
    [
        ([ConnectionRefusedError()], 75),
        ([TimeoutError()], 75),
        ([OSError(errno.ENETUNREACH, "x"), EndpointConnectionError()], 75),
        ([caused(RuntimeError("x"), ConnectionResetError())], 75),
        ([PermissionError(errno.EACCES, "x")], 73),
        ([OSError(errno.ENOSPC, "x")], 73),
        ([ConnectionRefusedError(), PermissionError()], 73),
        ([], 73),
    ],
)
def test_a_remote_that_is_away_is_asked_again_and_a_closed_one_is_not(errors, status):
    from flows import push_child

    assert push_child._status(errors) == status

"""Servers to grow into, each on a port of its own: PostgreSQL, S3, any command."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import environment
from running import wait_for

S3_KEYS = {
    "AWS_ACCESS_KEY_ID": "tester",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "eu-central-1",
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Postgres(NamedTuple):
    """A running server, which trusts ann."""

    folder: Path
    port: int

    def url(self, driver: str, name: str) -> str:
        """The address of a database, made if it is new."""
        if (name,) not in self.ask("postgres", "select datname from pg_database"):
            self.ask("postgres", f"create database {name}")
        return f"postgresql+{driver}://ann@127.0.0.1:{self.port}/{name}"

    def ask(self, name: str, query: str) -> list[tuple]:
        """The rows of an answer."""
        import psycopg

        address = f"postgresql://ann@127.0.0.1:{self.port}/{name}"
        with psycopg.connect(address, autocommit=True) as connection:
            answer = connection.execute(query)
            return answer.fetchall() if answer.description else []


@contextmanager
def postgres_server() -> Generator[Postgres]:
    """PostgreSQL from the programs of this machine; skips where there are none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = shutil.which("initdb") or (found[-1] if found else None)
    if initdb is None:
        pytest.skip("no PostgreSQL server programs (initdb, pg_ctl) on this machine")
    # Not pytest's folder: each session that starts shuts that to all but its user.
    with tempfile.TemporaryDirectory(prefix="wordmill-pg-") as folder:
        user = {}
        if os.geteuid() == 0:  # it refuses to run as root
            names = {account.pw_name for account in pwd.getpwall()}
            user = {"user": "postgres" if "postgres" in names else "nobody"}
            shutil.chown(folder, user["user"])
        server, programs = Postgres(Path(folder), free_port()), Path(initdb).parent

        def run(*command):
            env = {"PATH": f"{programs}:{os.environ['PATH']}", "LC_ALL": "C"}
            output = subprocess.DEVNULL
            subprocess.run(command, check=True, cwd=folder, env=env, stdout=output, **user)

        run("initdb", "--auth", "trust", "--username", "ann", "--encoding", "UTF8", "-D", "data")
        options = f"-k {folder} -h 127.0.0.1 -p {server.port}"
        run("pg_ctl", "-D", "data", "-w", "-l", "log", "-o", options, "start")
        try:
            yield server
        finally:
            run("pg_ctl", "-D", "data", "-w", "-m", "immediate", "stop")


@contextmanager
def s3_server(folder: Path) -> Generator[dict[str, str]]:
    """S3 by moto; yields the environment that leads to it."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    address = f"http://127.0.0.1:{port}"
    with running_server(command, folder, asked=f"{address}/moto-api/data.json"):
        yield {**S3_KEYS, "AWS_ENDPOINT_URL": address}


@contextmanager
def running_server(
    command: list[str], folder: Path, *, asked: str, **extra: str
) -> Generator[subprocess.Popen]:
    """A command that serves while the block lasts, once a page of it answers."""
    with (folder / f"{Path(command[0]).name}-{command[2]}.log").open("w") as log:
        server = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(**extra),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for(lambda: server.poll() is not None or _answers(asked), seconds=300)
        assert server.poll() is None, Path(log.name).read_text()
        yield server
    finally:
        os.killpg(server.pid, signal.SIGTERM)  # MLflow's server has servers of its own
        server.wait(60)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2):
            return True
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False

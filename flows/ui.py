"""Both pages, MLflow's and Prefect's, on this machine alone, until Ctrl-C."""

import os
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import IO

from flows.group import Child, group
from flows.servers import is_web, shown
from flows.workspace import STATE, announced_ui, artifact_root, running_prefect
from wordmill.errors import ParamsError, TryAgainError

_HOST = "127.0.0.1"
_START_SECONDS = 120
_POLL_SECONDS = 0.5


def serve(*, mlflow_port: int, prefect_port: int) -> int:
    """Serve both pages and return the exit status.

    Raises:
        ParamsError: a port is taken.
        TryAgainError: a server did not start, or ended.
    """
    ports = {"mlflow": mlflow_port, "prefect": prefect_port}
    elsewhere = _elsewhere()
    for name in elsewhere:
        del ports[name]
    for name, port in ports.items():
        if is_taken(port):
            raise ParamsError(f"port {port} is taken; choose another with --{name}-port")
    pages = {name: f"http://{_HOST}:{port}" for name, port in ports.items()}
    with ExitStack() as running:
        servers = {name: running.enter_context(server(name, port)) for name, port in ports.items()}
        try:
            await_pages(pages, servers)
            with _announced(pages):
                for name, address in (elsewhere | pages).items():
                    print(f"{name:8} {address}")
                if not pages:
                    return 0
                print("Ctrl-C ends both." if not elsewhere else "Ctrl-C ends it.", flush=True)
                while all(server.poll() is None for server in servers.values()):
                    time.sleep(_POLL_SECONDS)
        except KeyboardInterrupt:
            return 0
    raise TryAgainError(f"one of the two servers has ended; see {STATE}/*.log")


def _elsewhere() -> dict[str, str]:
    """The pages that somebody else serves, and who, where it is known."""
    pages: dict[str, str] = {}
    if is_web(address := os.environ["MLFLOW_TRACKING_URI"]):
        pages["mlflow"] = shown(address)
    ours = running_prefect()
    if address := os.environ.get("PREFECT_API_URL") or ours:
        page = os.environ.get("PREFECT_UI_URL") or address.rstrip("/").removesuffix("/api")
        pages["prefect"] = shown(page)
        if address == ours:
            pages["prefect"] += ", served by `wordmill schedule`"
    return pages


def _announced(pages: dict[str, str]) -> AbstractContextManager[None]:
    page = pages.get("prefect")
    return announced_ui(prefect_api=f"{page}/api") if page else nullcontext()


@contextmanager
def server(name: str, port: int) -> Generator[Child]:
    """Run a page's server, `mlflow` or `prefect`, while the block lasts."""
    arguments = {
        "mlflow": (
            *("server", "--host", _HOST, "--port", str(port), "--workers", "1"),
            *("--default-artifact-root", artifact_root()),
        ),
        "prefect": ("server", "start", "--host", _HOST, "--port", str(port)),
    }
    STATE.mkdir(exist_ok=True)
    # No argument: a database's address may hold a password, and everybody sees arguments.
    environment = {**os.environ, "MLFLOW_BACKEND_STORE_URI": os.environ["MLFLOW_TRACKING_URI"]}
    with (
        (STATE / f"{name}.log").open("w") as log,
        outsider(name, *arguments[name], environment=environment, output=log) as server,
    ):
        yield server


@contextmanager
def outsider(
    module: str, *arguments: str, environment: dict[str, str], output: IO[str] | None = None
) -> Generator[Child]:
    """Run a program that knows nothing of groups, in one that ends with this process."""
    command = [sys.executable, "-m", "flows.outsider", module, *arguments]
    with group(command, environment=environment, output=output) as started:
        yield started


def await_pages(pages: dict[str, str], servers: dict[str, Child]) -> None:
    """Wait until every page answers.

    Raises:
        TryAgainError: a server did not start.
    """
    deadline = time.monotonic() + _START_SECONDS
    for name, address in pages.items():
        while not _answers(address):
            if time.monotonic() > deadline or servers[name].poll() is not None:
                raise TryAgainError(f"the {name} server did not start; see {STATE}/{name}.log")
            time.sleep(_POLL_SECONDS)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=1):
            return True
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


def is_taken(port: int) -> bool:
    """Whether something listens there on this machine."""
    with socket.socket() as probe:
        return probe.connect_ex((_HOST, port)) == 0

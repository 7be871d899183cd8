"""Both pages, MLflow's and Prefect's, on this machine alone, until Ctrl-C."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

from flows.workspace import announced_ui, artifact_root
from wordmill.errors import ParamsError, TryAgainError

_HOST = "127.0.0.1"
_START_SECONDS = 120
_POLL_SECONDS = 0.5


def serve(*, mlflow_port: int, prefect_port: int) -> int:
    """Serve both pages and return the exit status.

    Raises:
        ParamsError: a port is taken.
        TryAgainError: a server did not start.
    """
    for name, port in (("mlflow", mlflow_port), ("prefect", prefect_port)):
        if _is_taken(port):
            raise ParamsError(f"port {port} is taken; choose another with --{name}-port")
    servers = [
        _start(
            "-m",
            "mlflow",
            "server",
            "--host",
            _HOST,
            "--port",
            str(mlflow_port),
            "--backend-store-uri",
            os.environ["MLFLOW_TRACKING_URI"],
            "--default-artifact-root",
            artifact_root(),
        ),
        _start("-m", "prefect", "server", "start", "--host", _HOST, "--port", str(prefect_port)),
    ]
    pages = {"MLflow": f"http://{_HOST}:{mlflow_port}", "Prefect": f"http://{_HOST}:{prefect_port}"}
    try:
        _await(pages, servers)
        with announced_ui(prefect_api=f"{pages['Prefect']}/api"):
            for name, address in pages.items():
                print(f"{name:8} {address}")
            print("Ctrl-C ends both.", flush=True)
            while all(server.poll() is None for server in servers):
                time.sleep(_POLL_SECONDS)
        raise TryAgainError("one of the two servers has ended; start them again")
    except KeyboardInterrupt:
        return 0
    finally:
        for server in servers:
            server.terminate()
        for server in servers:
            server.wait()


def _start(*arguments: str) -> "subprocess.Popen[bytes]":
    # In a session of its own: Ctrl-C is for this process, which then ends both in order.
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _await(pages: dict[str, str], servers: "list[subprocess.Popen[bytes]]") -> None:
    deadline = time.monotonic() + _START_SECONDS
    for name, address in pages.items():
        while not _answers(address):
            if time.monotonic() > deadline or any(s.poll() is not None for s in servers):
                raise TryAgainError(f"the {name} server did not start")
            time.sleep(_POLL_SECONDS)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=1):
            return True
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((_HOST, port)) == 0

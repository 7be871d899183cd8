"""Addresses of servers elsewhere: what is wrong with one is a line, at once, without secrets."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from growing import free_port

from flows import servers, ui, workspace
from wordmill.errors import ParamsError, TryAgainError

MLFLOW, PREFECT = "MLFLOW_TRACKING_URI", "PREFECT_API_URL"
PREFECT_DATABASE = "PREFECT_SERVER_DATABASE_CONNECTION_URL"


class _Page(BaseHTTPRequestHandler):
    def do_GET(self):
        status, body = self.server.answer
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def page():
    with HTTPServer(("127.0.0.1", 0), _Page) as server:
        server.address = f"http://ann:secret@127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def _embedded(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    workspace.STATE.mkdir()
    for name in (PREFECT, PREFECT_DATABASE, "PREFECT_UI_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(MLFLOW, f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setattr(servers, "_SECONDS", 5)


def test_the_embedded_ones_are_not_asked():
    servers.check_servers()


@pytest.mark.parametrize(
    ("name", "address"),
    [
        (MLFLOW, "http://ann:secret@127.0.0.1:{port}"),
        (MLFLOW, "postgresql+psycopg://ann:secret@127.0.0.1:{port}/mlflow"),
        (PREFECT, "http://ann:secret@127.0.0.1:{port}/api"),
        (PREFECT_DATABASE, "postgresql+asyncpg://ann:secret@127.0.0.1:{port}/prefect"),
    ],
)
def test_a_dead_address_is_a_line_at_once(monkeypatch, name, address):
    if "psycopg:" in address:
        pytest.importorskip("psycopg", reason="needs psycopg: pip install 'wordmill[postgres]'")
    port = free_port()
    monkeypatch.setenv(name, address.format(port=port))
    with pytest.raises(TryAgainError) as caught:
        servers.check_servers()
    told = str(caught.value)
    shown = address.format(port=port).replace("ann:secret@", "")
    assert told.startswith(
        f"{'MLflow' if name == MLFLOW else 'Prefect'} does not answer at {shown}"
    )
    assert name in told
    assert "\n" not in told
    assert "secret" not in told


@pytest.mark.parametrize(
    ("name", "address", "expected"),
    [
        (MLFLOW, "postgresql+nope://ann:secret@host/mlflow", "not an address of a database"),
        (MLFLOW, "postgres://ann:secret@host/mlflow", "not an address of a database"),
        (MLFLOW, "postgresql+psycopg://ann:secret@host:port/mlflow", "not an address of a data"),
        (MLFLOW, "mysql+pymysql://ann:secret@host/mlflow", "the driver pymysql is not here"),
        (PREFECT_DATABASE, "postgresql://ann:secret@host/x", "Prefect takes postgresql+asyncpg"),
    ],
)
def test_an_address_that_is_none_says_what_to_write(monkeypatch, name, address, expected):
    monkeypatch.setitem(__import__("sys").modules, "pymysql", None)
    monkeypatch.setenv(name, address)
    with pytest.raises(ParamsError, match=f"{name}: ") as caught:
        servers.check_servers()
    assert expected in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [((200, b"OK"), None), ((401, b""), None), ((404, b""), None), ((502, b""), "it answers 502")],
)
def test_what_a_server_says(monkeypatch, page, answer, problem):
    monkeypatch.setenv(MLFLOW, page.address)
    page.answer = answer
    if problem is None:
        servers.check_mlflow()
        return
    with pytest.raises(TryAgainError, match=problem):
        servers.check_mlflow()


def test_the_address_of_prefects_page_is_not_its_apis(monkeypatch, page):
    monkeypatch.setenv(PREFECT, page.address)
    page.answer = (200, b"<!DOCTYPE html>")
    with pytest.raises(TryAgainError, match="its address ends in /api"):
        servers.check_prefect()
    page.answer = (200, b"true")
    servers.check_prefect()


def test_pages_served_elsewhere_are_told_and_not_served_again(monkeypatch, capsys):
    monkeypatch.setenv(MLFLOW, "https://ann:secret@mlflow.example.org")
    monkeypatch.setenv(PREFECT, "http://prefect.example.org:4200/api")
    assert ui.serve(mlflow_port=5000, prefect_port=4200) == 0
    assert capsys.readouterr().out.splitlines() == [
        "mlflow   https://mlflow.example.org",
        "prefect  http://prefect.example.org:4200",
    ]


@pytest.mark.parametrize("body", [b"<!DOCTYPE html>", b""])
def test_another_server_on_the_port_of_pages_that_were_killed_is_not_taken_for_prefects(page, body):
    address = f"http://127.0.0.1:{page.server_port}/api"
    with workspace.announced_ui(prefect_api=address):
        page.answer = (200, b"true")
        assert workspace.running_prefect() == address
        page.answer = (200, body)
        assert workspace.running_prefect() is None
    assert workspace.running_prefect() is None


def test_what_does_not_even_speak_http_is_not_prefects_server():
    with socket.create_server(("127.0.0.1", 0)) as odd:

        def say() -> None:
            peer, _ = odd.accept()
            with peer:
                peer.recv(1000)
                peer.sendall(b"SSH-2.0-OpenSSH\r\n")

        threading.Thread(target=say, daemon=True).start()
        with workspace.announced_ui(prefect_api=f"http://127.0.0.1:{odd.getsockname()[1]}/api"):
            assert workspace.running_prefect() is None

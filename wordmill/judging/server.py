"""The judging page's server: this machine alone, one ballot, until the result has been asked for.

Names of systems leave it with the result and not before. Requests are answered only under this
machine's own name and from the page itself, so that no other site can read or vote through a
browser (DNS rebinding, cross-site requests).
"""

import json
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from wordmill.errors import ParamsError, WordmillError
from wordmill.judging.ballot import Ballot, Duel
from wordmill.judging.tally import Choice
from wordmill.judging.votes import VoteFile, win_rate

HOST = "127.0.0.1"

_FOLDER = Path(__file__).parent
_REPORT = _FOLDER.parent / "report"
_FILES = {
    "/": ("text/html", [_FOLDER / "judge.html"]),
    "/judge.js": ("text/javascript", [_FOLDER / "judge.js"]),
    "/judge.css": ("text/css", [_REPORT / "page.css", _FOLDER / "judge.css"]),
}
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_MAX_BODY_BYTES = 4096
_SIDES: dict[bool, dict[str, Choice]] = {
    True: {"left": "a", "right": "b", "tie": "tie", "skip": "skip"},
    False: {"left": "b", "right": "a", "tie": "tie", "skip": "skip"},
}
"""What is said of the sides, as a choice, by whether a stands on the left."""


class Booth:
    """One judge, one ballot: what the page may know and do."""

    def __init__(self, ballot: Ballot, votes: VoteFile) -> None:
        self._ballot = ballot
        self._votes = votes
        self._lock = threading.Lock()
        self.result: dict[str, Any] | None = None
        """The win rate, once it was asked for, or where all was judged before; from then on no
        vote is taken: the names may be known."""
        if self._state()["next"] is None:
            self.end()

    def state(self) -> dict[str, Any]:
        """How far judging has come, and the number of the first example without a vote."""
        with self._lock:
            return self._state()

    def example(self, number: Any) -> dict[str, Any]:
        """An example for the page: no names, no ids.

        Raises:
            ParamsError: there is none of this number.
        """
        duel = self._duel(number)
        answers = (duel.answer_a, duel.answer_b)
        left, right = answers if duel.is_a_left else answers[::-1]
        with self._lock:
            choice = self._votes.choices().get(duel.asked.id)
        sides = {choice: side for side, choice in _SIDES[duel.is_a_left].items()}
        asked = duel.asked
        told = {"task": asked.task, "ask": asked.ask, "source": asked.source}
        told |= {"target": asked.target, "left": left, "right": right}
        return {**told, "number": number, "choice": sides[choice] if choice else None}

    def vote(self, number: Any, side: Any) -> dict[str, Any]:
        """Take a vote and say how far judging has come.

        Raises:
            ParamsError: no such example or side, or the result is out.
        """
        duel = self._duel(number)
        if not isinstance(side, str) or side not in _SIDES[True]:
            raise ParamsError(f"a choice is one of {', '.join(_SIDES[True])}")
        with self._lock:
            if self.result is not None:
                raise ParamsError("the result is out: no more votes")
            self._votes.add(duel.asked.id, _SIDES[duel.is_a_left][side])
            return self._state()

    def end(self) -> dict[str, Any]:
        """Close the vote: the names and the win rate.

        Raises:
            ParamsError: examples are left to judge.
        """
        with self._lock:
            if self._state()["next"] is not None:
                raise ParamsError("examples are left to judge")
            names = (self._ballot.a.system, self._ballot.b.system)
            self.result = win_rate(*names, self._votes.tally())
            return self.result

    def _state(self) -> dict[str, Any]:
        choices = self._votes.choices()
        missing = (n for n, d in enumerate(self._ballot.duels) if d.asked.id not in choices)
        total = len(self._ballot.duels)
        return {"total": total, "done": len(choices), "next": next(missing, None)}

    def _duel(self, number: Any) -> Duel:
        if type(number) is not int or not 0 <= number < len(self._ballot.duels):
            raise ParamsError("no such example")
        return self._ballot.duels[number]


class Server(ThreadingHTTPServer):
    """Serves one booth. Threads, since a browser opens connections that it does not use."""

    daemon_threads = True

    def __init__(self, booth: Booth, *, port: int) -> None:
        """Listen.

        Raises:
            ParamsError: the port is taken.
        """
        self.booth = booth
        try:
            super().__init__((HOST, port), _Handler)
        except OSError:
            raise ParamsError(f"port {port} is taken; choose another with --port") from None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over a browser that hung up; everything else is shown."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.server_port}/"


def judged(booth: Booth, *, port: int, announce: Callable[[str], None]) -> dict[str, Any] | None:
    """Serve until the result was asked for, and return it; None where Ctrl-C came first.

    Args:
        booth: what is judged.
        port: 0 takes a free one.
        announce: told the page's address once it is there.
    """
    with Server(booth, port=port) as server:
        announce(server.address)
        try:
            server.serve_forever(poll_interval=0.1)
        except KeyboardInterrupt:
            return None
    return booth.result


class _Handler(BaseHTTPRequestHandler):
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]
    timeout = 30  # a connection that says nothing is closed

    def do_GET(self) -> None:
        path = urlsplit(self.path)
        if not self._is_ours():
            self._say({"error": "ask this machine by its own name"}, HTTPStatus.FORBIDDEN)
        elif path.path in _FILES:
            kind, files = _FILES[path.path]
            text = "\n".join(file.read_text(encoding="utf-8") for file in files)
            self._send(text, kind, HTTPStatus.OK)
        elif path.path == "/state":
            self._answer(self.server.booth.state)
        elif path.path == "/example":
            number = parse_qs(path.query).get("number", [""])[0]
            known = int(number) if number.isdecimal() and len(number) < 10 else None
            self._answer(lambda: self.server.booth.example(known))
        else:
            self._say({"error": "no such page"}, HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        body = self._body()
        if not self._is_ours() or not self._is_from_our_page():
            self._say({"error": "votes come from the page itself"}, HTTPStatus.FORBIDDEN)
        elif body is None:
            self._say({"error": "a small JSON object is expected"}, HTTPStatus.BAD_REQUEST)
        elif self.path == "/vote":
            self._answer(lambda: self.server.booth.vote(body.get("number"), body.get("choice")))
        elif self.path == "/end":
            self._answer(self.server.booth.end)
            if self.server.booth.result is not None:
                self.wfile.flush()
                threading.Thread(target=self.server.shutdown, daemon=True).start()
        else:
            self._say({"error": "no such page"}, HTTPStatus.NOT_FOUND)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal is the judge's."""

    def _is_ours(self) -> bool:
        port = self.server.server_port
        return self.headers.get("Host") in (f"{HOST}:{port}", f"localhost:{port}")

    def _is_from_our_page(self) -> bool:
        origin = self.headers.get("Origin")
        is_same = origin is None or origin == f"http://{self.headers.get('Host')}"
        return is_same and self.headers.get("Content-Type") == "application/json"

    def _body(self) -> dict[str, Any] | None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _MAX_BODY_BYTES:
            return None
        try:
            found: Any = json.loads(self.rfile.read(int(length)))
        except ValueError:
            return None
        return found if isinstance(found, dict) else None

    def _answer(self, work: Callable[[], dict[str, Any]]) -> None:
        try:
            found = work()
        except ParamsError as error:
            self._say({"error": str(error)}, HTTPStatus.BAD_REQUEST)
        except WordmillError as error:
            self._say({"error": str(error)}, HTTPStatus.INTERNAL_SERVER_ERROR)
        else:
            self._say(found, HTTPStatus.OK)

    def _say(self, told: dict[str, Any], status: HTTPStatus) -> None:
        self._send(json.dumps(told), "application/json", status)

    def _send(self, text: str, kind: str, status: HTTPStatus) -> None:
        content = text.encode()
        self.send_response(status)
        headers = {"Content-Type": f"{kind}; charset=utf-8", "Content-Length": str(len(content))}
        for name, value in {**headers, **_HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

"""Where notifications arrive: a web server and a mail server of this machine, in threads."""

import email
import json
import socketserver
import threading
from collections.abc import Generator
from contextlib import contextmanager
from email import policy
from http.server import BaseHTTPRequestHandler, HTTPServer


class _Hook(BaseHTTPRequestHandler):
    def do_POST(self):
        length = int(self.headers["content-length"])
        told = json.loads(self.rfile.read(length))
        self.server.taken.append(f"{told['title']}\n{told['message']}")
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


class _Mail(socketserver.StreamRequestHandler):
    """As much of SMTP as one plain message needs."""

    def say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())

    def handle(self):
        self.say("220 here")
        lines: list[str] | None = None
        for raw in self.rfile:
            line = raw.decode().rstrip("\r\n")
            if lines is not None:
                if line == ".":
                    self.server.taken.append(_read(lines))
                    lines = None
                    self.say("250 taken")
                else:
                    lines.append(line)
            elif line.upper().startswith("DATA"):
                lines = []
                self.say("354 go on")
            elif line.upper().startswith("QUIT"):
                self.say("221 bye")
                return
            else:
                self.say("250 here")


def _read(lines: list[str]) -> str:
    message = email.message_from_string("\n".join(lines), policy=policy.default)
    return f"{message['subject']}\n{message.get_body(('plain', 'html')).get_content()}"


@contextmanager
def webhook() -> Generator[HTTPServer]:
    """A server whose `taken` grows by title and text of each message; `address` is Apprise's."""
    with _serving(HTTPServer(("127.0.0.1", 0), _Hook)) as server:
        server.address = f"json://user:secret@127.0.0.1:{server.server_address[1]}/hook"
        yield server


@contextmanager
def mailbox() -> Generator[socketserver.TCPServer]:
    """The same for mail."""
    with _serving(socketserver.TCPServer(("127.0.0.1", 0), _Mail)) as server:
        to = "from=mill@example.org&to=team@example.org&mode=insecure"
        server.address = f"mailto://127.0.0.1:{server.server_address[1]}?{to}"
        yield server


@contextmanager
def _serving(server):
    server.taken = []
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()

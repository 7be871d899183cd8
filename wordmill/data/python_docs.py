"""The embedded source: what every Python carries about itself.

The topics of the language reference and the docstrings of the standard library, parsed and
never imported. A docstring whose first line stands alone also makes a pair: its body is the
source, its first line the target. Costs about 5 s on two cores.
"""

import ast
import os
import platform
import re
import sysconfig
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from wordmill.data.records import Document, Pair, document, pair
from wordmill.errors import DataError

SOURCE = "python-docs"

# Tests are not documentation; the rest is other projects' code or data for old Pythons.
_LEFT_OUT = {
    "test",
    "tests",
    "idle_test",
    "site-packages",
    "dist-packages",
    "_vendor",
    "_bundled",
    "ensurepip",
    "lib2to3",
}
_ONE_LINE_THEN_BODY = re.compile(r"(?P<first>[^\n]+)\n[ \t]*\n\s*(?P<body>\S.*)", re.DOTALL)


class Docstring(NamedTuple):
    """A docstring and whose it is."""

    path: str
    name: str
    text: str


def fingerprint() -> str:
    """What this source is made from: it changes with the interpreter and nothing else."""
    return f"{platform.python_implementation()} {platform.python_version()}"


def read() -> Iterator[tuple[str, Document | Pair]]:
    """Yield each record with the text that decides its split.

    A pair goes where the docstring it comes from goes: otherwise a model could have learned
    a held-out target by heart while it pretrained.

    Raises:
        DataError: this interpreter was installed without its documentation.
    """
    for topic, text in _topics().items():
        yield text, document(text, origin=SOURCE, topic=topic)
    for found in _docstrings():
        where = {"path": found.path, "name": found.name}
        yield found.text, document(found.text, origin=SOURCE, **where)
        if match := _ONE_LINE_THEN_BODY.fullmatch(found.text):
            made = pair(match["body"], match["first"], task="summarize", origin=SOURCE, **where)
            yield found.text, made


def _topics() -> dict[str, str]:
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise DataError(
            "python-docs: this Python has no language reference (pydoc_data.topics); install its"
            " standard library in full, or name another source under ingest.sources"
        ) from None
    return topics


def _docstrings() -> Iterator[Docstring]:
    root = Path(sysconfig.get_path("stdlib"))
    relative = (path.relative_to(root) for path in root.rglob("*.py"))
    paths = sorted(path.as_posix() for path in relative if not _LEFT_OUT & set(path.parts))
    with ProcessPoolExecutor(
        os.cpu_count(), initializer=_end_with, initargs=(os.getpid(),)
    ) as workers:
        for found in workers.map(_docstrings_of, [root] * len(paths), paths, chunksize=16):
            yield from found


def _end_with(parent: int) -> None:
    """In a worker: end when the parent is gone; a pool's workers would wait for ever."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _docstrings_of(root: Path, path: str) -> list[Docstring]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in old modules
        try:
            tree = ast.parse((root / path).read_bytes())
        except (SyntaxError, ValueError):  # files that show what does not parse
            return []
    module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return [Docstring(path, name, text) for name, text in _named_docstrings(tree, module)]


def _named_docstrings(node: Any, name: str) -> Iterator[tuple[str, str]]:
    if text := ast.get_docstring(node):
        yield name, text
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _named_docstrings(child, f"{name}.{child.name}")

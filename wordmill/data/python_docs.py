"""The embedded source: what every Python carries about itself.

The topics of the language reference and the docstrings of the standard library, parsed and
never imported. A docstring whose first line stands alone also makes a pair: its body is the
source, its first line the target. Costs about 5 s on two cores.
"""

import ast
import platform
import re
import sysconfig
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from wordmill.data.parts import Part
from wordmill.data.records import document, pair
from wordmill.data.rows import About, Keyed, Result
from wordmill.errors import DataError
from wordmill.workers import map_in_order

SOURCE = "python-docs"
LANGUAGE = "en"
_FILES_A_BATCH = 32

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


def parts(about: About) -> list[Part]:
    """The one part that a Python is."""
    return [Part(name=SOURCE, results=partial(read, about), identity=fingerprint)]


def read(about: About) -> Iterator[Result]:
    """Yield what each topic and docstring gives.

    A pair goes where the docstring it comes from goes: otherwise a model could have learned
    a held-out target by heart while it pretrained.

    Raises:
        DataError: this interpreter was installed without its documentation.
    """
    common: dict[str, Any] = about._asdict()
    for topic, text in _topics().items():
        yield [(text, document(text, **common, topic=topic))]
    for found in _docstrings():
        known: dict[str, Any] = {**common, "path": found.path, "name": found.name}
        records: list[Keyed] = [(found.text, document(found.text, **known))]
        if match := _ONE_LINE_THEN_BODY.fullmatch(found.text):
            made = pair(match["body"], match["first"], task="summarize", **known)
            records.append((found.text, made))
        yield records


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
    starts = range(0, len(paths), _FILES_A_BATCH)
    batches = (paths[start : start + _FILES_A_BATCH] for start in starts)
    for found in map_in_order(partial(_docstrings_in, root), batches):
        yield from found


def _docstrings_in(root: Path, paths: list[str]) -> list[Docstring]:
    return [found for path in paths for found in _docstrings_of(root, path)]


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

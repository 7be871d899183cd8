"""The embedded source: topics and docstrings of the running Python."""

import json

import pytest
from ingesting import ingest_params

from wordmill.data import python_docs
from wordmill.data.records import Document, Pair
from wordmill.data.rows import About
from wordmill.data.sources import outside_fingerprints


@pytest.fixture
def small_library(tmp_path, monkeypatch):
    """A standard library of three files, one of them a test."""
    (tmp_path / "pkg/test").mkdir(parents=True)
    (tmp_path / "pkg/__init__.py").write_text(
        '"""Milling.\n\nGrinds corn between two stones."""\n'
        'def grind(corn):\n    """Grind corn.\n\n    Slowly, so that it stays cool."""\n'
        'class Mill:\n    """A mill in one line."""\n'
        '    def stop(self):\n        """Two lines\n        and no body."""\n'
    )
    (tmp_path / "pkg/broken.py").write_text("def (:\n")
    (tmp_path / "pkg/test/test_it.py").write_text('"""Not documentation."""\n')
    monkeypatch.setattr(python_docs.sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setattr(python_docs, "_topics", lambda: {"milling": "About milling."})
    found = python_docs.read(About("python-docs", "en", 1.0))
    return [keyed for result in found for keyed in result]


def test_docstrings_make_documents_and_pairs(small_library):
    documents = [r for _, r in small_library if isinstance(r, Document)]
    assert {r.text for r in documents} == {
        "About milling.",
        "Milling.\n\nGrinds corn between two stones.",
        "Grind corn.\n\nSlowly, so that it stays cool.",
        "A mill in one line.",
        "Two lines\nand no body.",
    }
    pairs = [(r.source, r.target) for _, r in small_library if isinstance(r, Pair)]
    assert pairs == [
        ("Grinds corn between two stones.", "Milling."),
        ("Slowly, so that it stays cool.", "Grind corn."),
    ]
    names = [json.loads(r.metadata).get("name") for r in documents]
    assert names == [None, "pkg", "pkg.grind", "pkg.Mill", "pkg.Mill.stop"]


def test_a_pair_falls_on_the_side_of_its_docstring(small_library):
    for text, record in small_library:
        if isinstance(record, Pair):
            assert text == f"{record.target}\n\n{record.source}"


def test_the_running_interpreter_has_documentation():
    assert len(python_docs._topics()) > 50
    params = ingest_params(".", {"kind": "python-docs"})
    assert outside_fingerprints(params) == {"python-docs": python_docs.fingerprint()}

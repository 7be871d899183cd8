import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter

from wordmill.data import files, hub, python_docs
from wordmill.data.records import Document, Pair
from wordmill.data.sources import Ingestion, outside_fingerprints
from wordmill.errors import DataError
from wordmill.params.ingest import IngestParams, Source
from wordmill.progress import Progress

TEXT = {"task": "write", "text": "text"}
PAIRS = {"task": "summarize", "source": "body", "target": "title"}


def source(**values):
    return TypeAdapter(Source).validate_python(values)


def records(root, **values):
    return [record for _, record in files.read(source(**values), root)]


def texts(root, **values):
    return [record.text for record in records(root, **values)]


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("file", ["a\nb\n\n\n c\n"]),
        ("paragraph", ["a\nb\n", " c\n"]),
        ("line", ["a\n", "b\n", " c\n"]),
    ],
)
def test_text_comes_in_units(tmp_path, unit, expected):
    (tmp_path / "x.txt").write_text("a\nb\n\n\n c\n")
    assert texts(tmp_path, kind="text", path="x.txt", encoding="utf-8", unit=unit) == expected


def test_a_glob_reads_files_in_order(tmp_path):
    for name in ("b.txt", "a.txt", "sub/c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    found = texts(tmp_path, kind="text", path="**/*.txt", encoding="utf-8", unit="file")
    assert found == ["a.txt", "b.txt", "sub/c.txt"]


def test_encodings_are_stated(tmp_path):
    (tmp_path / "x.txt").write_bytes("春眠不觉晓".encode("gb18030"))
    found = texts(tmp_path, kind="text", path="x.txt", encoding="gb18030", unit="line")
    assert found == ["春眠不觉晓"]


def test_jsonl_gives_documents_and_pairs(tmp_path):
    row = {"text": "t", "body": "b", "title": "标题"}
    (tmp_path / "x.jsonl").write_text("\ufeff" + json.dumps(row) + "\n\n", encoding="utf-8")
    (found,) = records(tmp_path, kind="jsonl", path="x.jsonl", columns=TEXT)
    assert isinstance(found, Document)
    assert found.text == "t"
    (found,) = records(tmp_path, kind="jsonl", path="x.jsonl", columns=PAIRS)
    assert isinstance(found, Pair)
    assert (found.task, found.source, found.target) == ("summarize", "b", "标题")


def test_csv_keeps_line_breaks_and_quotes(tmp_path):
    (tmp_path / "x.csv").write_text('id;text\r\n1;"a\r\nb ""c"""\r\n\r\n', newline="")
    options = {"encoding": "utf-8", "delimiter": ";", "columns": TEXT}
    assert texts(tmp_path, kind="csv", path="x.csv", **options) == ['a\r\nb "c"']


def test_parquet_is_read_by_column(tmp_path):
    pq.write_table(pa.table({"text": ["a", "b"], "other": [1, 2]}), tmp_path / "x.parquet")
    assert texts(tmp_path, kind="parquet", path="x.parquet", columns=TEXT) == ["a", "b"]


def csv(**columns):
    return {"kind": "csv", "encoding": "utf-8", "delimiter": ",", "columns": columns or TEXT}


JSONL = {"kind": "jsonl", "columns": TEXT}
PARQUET = {"kind": "parquet", "columns": TEXT}
LINES = {"kind": "text", "encoding": "utf-8", "unit": "line"}


@pytest.mark.parametrize(
    ("options", "content", "expected"),
    [
        (JSONL, b'{"text": "a"}\n{"text": \n', "x:2: not valid JSON: Expecting value"),
        (JSONL, b'{"text": "a"}\n["a"]\n', "x:2: must be a JSON object"),
        (JSONL, b'{"txt": "a"}\n', "x:1: no column 'text'; the columns are: txt"),
        (JSONL, b'{"text": 5}\n', "x:1: column 'text' must be text; got 5"),
        (JSONL, b'{"text": null}\n', "x:1: column 'text' must be text; got None"),
        (JSONL, b'{"text": "a"}\n{"text": "\xff"}\n', "x:2: not utf-8"),
        (csv(), b"id,body\n1,a\n", "x:2: no column 'text'; the columns are: id, body"),
        (csv(), b"id,text\n1,a,b\n", "x:2: has 3 fields where the header has 2"),
        (csv(), b'id,text\n1,"a\n', "not valid CSV"),
        (csv(), b"id,text\n1,\xe9t\xe9\n", "x:2: not utf-8: invalid continuation byte 0xe9"),
        (PARQUET, b"not parquet", "x: not valid Parquet"),
        (LINES, b"a\nb\xe9", "x:2: not utf-8: unexpected end of data 0xe9"),
        ({**LINES, "encoding": "utf-99"}, b"a", "x: unknown encoding 'utf-99'"),
        ({**LINES, "encoding": "utf-16"}, b"a\nb\n", "x:1: not utf-16"),
        (JSONL, b'{"text": "\\ud83d"}\n', "x:1: column 'text' holds half a surrogate pair"),
    ],
)
def test_a_broken_row_is_named_by_file_and_line(tmp_path, options, content, expected):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DataError) as caught:
        records(tmp_path, path="x", **options)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_line_of_a_bad_byte_is_found_in_a_long_file(tmp_path):
    (tmp_path / "x").write_bytes(b"aaaaaaaaa\n" * 300_000 + b"\xff\n")
    with pytest.raises(DataError, match="x:300001: not utf-8"):
        records(tmp_path, path="x", **LINES)


def test_a_missing_column_of_a_parquet_file_is_named(tmp_path):
    pq.write_table(pa.table({"body": ["a"]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="no column 'text'; the columns are: body"):
        records(tmp_path, path="x.parquet", **PARQUET)


def test_a_missing_file_says_where_paths_start(tmp_path):
    with pytest.raises(DataError, match="no such file; a source's path is relative"):
        records(tmp_path, path="x", **LINES)


def ingest(root, *sources, test_fraction=0.2):
    params = IngestParams(
        root=str(root), sources=list(sources), validation_fraction=0.2, test_fraction=test_fraction
    )
    ingestion = Ingestion(params, progress=Progress("test"))
    return list(ingestion.records()), ingestion.report()


def test_an_empty_source_stops_the_run(tmp_path):
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(DataError, match=r"text x.txt: the source is empty"):
        ingest(tmp_path, source(path="x.txt", **LINES))


def test_each_source_is_counted(tmp_path):
    (tmp_path / "x.txt").write_text("a\nb\nc\n")
    row = json.dumps({"body": "b", "title": "t"})
    (tmp_path / "x.jsonl").write_text(row)
    lines = source(path="x.txt", **LINES)
    found, report = ingest(tmp_path, lines, source(kind="jsonl", path="x.jsonl", columns=PAIRS))
    assert len(found) == 4
    assert report["sources"] == [
        {"name": "text x.txt", "documents": 3},
        {"name": "jsonl x.jsonl", "pairs": 1},
    ]
    assert report["outside"] == {}


def test_a_hub_data_set_is_read_by_name_and_split(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "corpus"
    folder.mkdir()
    rows = [json.dumps({"body": f"b{i}", "title": f"t{i}"}) for i in range(3)]
    (folder / "train.jsonl").write_text("\n".join(rows))
    options = {"kind": "huggingface", "config": None, "revision": None, "columns": PAIRS}
    found = [r for _, r in hub.read(source(name=str(folder), split="train", **options))]
    assert [(r.source, r.target) for r in found] == [("b0", "t0"), ("b1", "t1"), ("b2", "t2")]
    with pytest.raises(DataError, match="can't be loaded"):
        list(hub.read(source(name=str(folder), split="nope", **options)))


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


def test_docstrings_make_documents_and_pairs(small_library):
    found = list(python_docs.read())
    documents = {r.text: r for _, r in found if isinstance(r, Document)}
    assert set(documents) == {
        "About milling.",
        "Milling.\n\nGrinds corn between two stones.",
        "Grind corn.\n\nSlowly, so that it stays cool.",
        "A mill in one line.",
        "Two lines\nand no body.",
    }
    pairs = [(r.source, r.target) for _, r in found if isinstance(r, Pair)]
    assert pairs == [
        ("Grinds corn between two stones.", "Milling."),
        ("Slowly, so that it stays cool.", "Grind corn."),
    ]
    names = [json.loads(r.metadata).get("name") for _, r in found if isinstance(r, Document)]
    assert names == [None, "pkg", "pkg.grind", "pkg.Mill", "pkg.Mill.stop"]


def test_a_pair_falls_on_the_side_of_its_docstring(small_library):
    for text, record in python_docs.read():
        if isinstance(record, Pair):
            assert text == f"{record.target}\n\n{record.source}"


def test_the_running_interpreter_has_documentation():
    topics = python_docs._topics()
    assert len(topics) > 50
    python = IngestParams(
        root=".",
        sources=[source(kind="python-docs")],
        validation_fraction=0.1,
        test_fraction=0.1,
    )
    assert outside_fingerprints(python) == {"python-docs": python_docs.fingerprint()}

"""Sources that DVC can't see: web servers, databases, the hub."""

import contextlib
import http.server
import json
import sqlite3
import threading

import pytest
from ingesting import bytes_of, ingest, ingest_params, records, texts

from wordmill.data import addresses, sql
from wordmill.data.sources import outside_fingerprints, source_name
from wordmill.errors import DataError, TryAgainError


class Server(http.server.ThreadingHTTPServer):
    """Serves what is in `pages`; a page's ETag is its length unless `has_etags` is off."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages, self.asked, self.has_etags = {}, [], True
        self.address = f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self, *, with_body=False):
        status, body = self.server.pages.get(self.path.partition("?")[0], (404, b""))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if self.server.has_etags:
            self.send_header("ETag", f'"v{len(body)}"')
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def do_GET(self):
        self.server.asked.append(self.path)
        self.do_HEAD(with_body=True)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_a_web_page_is_read_and_not_twice(tmp_path, server):
    root = tmp_path / "raw"
    server.pages["/x.jsonl"] = (200, b'{"text": "a"}\n')
    one = {"kind": "files", "path": f"{server.address}/x.jsonl?key=secret"}
    report = ingest(root, one).report()
    name = f"{server.address}/x.jsonl"
    assert report["sources"][0]["parts"][0] == {
        "address": name,
        "size": 14,
        "version": "v14",
        "rows": 1,
        "bad": 0,
        "documents": 1,
        "pairs": 0,
    }
    assert report["outside"] == {name: "v14"}
    before = bytes_of(tmp_path / "out")
    assert not any(b"secret" in content for content in before.values())
    server.asked.clear()
    assert ingest(root, one).num_unchanged == 1
    assert server.asked == []
    assert bytes_of(tmp_path / "out") == before
    server.pages["/x.jsonl"] = (200, b'{"text": "a"}\n{"text": "b"}\n')
    assert outside_fingerprints(ingest_params(root, one)) == {name: "v28"}
    assert ingest(root, one).num_unchanged == 0


def test_a_server_without_etags_is_read_each_time(tmp_path, server):
    server.pages["/x.txt"], server.has_etags = (200, b"a"), False
    one = {"kind": "files", "path": f"{server.address}/x.txt"}
    for _ in range(2):
        ingestion = ingest(tmp_path, one)
        assert (ingestion.num_unchanged, ingestion.report()["outside"]) == (0, {})


def test_a_table_behind_an_address_is_read(tmp_path, server):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["a", "b"]}), tmp_path / "x.parquet")
    server.pages["/x.parquet"] = (200, (tmp_path / "x.parquet").read_bytes())
    assert texts(tmp_path, path=f"{server.address}/x.parquet") == ["a", "b"]


def test_any_file_system_is_listed(tmp_path):
    import fsspec

    memory = fsspec.filesystem("memory")
    for name in ("in/b.txt", "in/a.jsonl", "in/deep/c.txt", "in/left.out"):
        memory.pipe(f"/{name}", b'{"text": "j"}' if name.endswith("l") else name.encode())
    assert texts(tmp_path, path="memory://in") == ["j", "in/b.txt", "in/deep/c.txt"]
    assert texts(tmp_path, path="memory://in/*.txt") == ["in/b.txt"]
    one = ingest_params(tmp_path, {"kind": "files", "path": "memory://in"})
    assert outside_fingerprints(one)["memory://in"].startswith("3 files ")
    memory.rm("/in", recursive=True)


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (404, DataError, "no such file"),
        (403, DataError, "the server refuses it: 403"),
        (503, TryAgainError, "the server does not answer: 503"),
    ],
)
def test_what_a_server_says_is_one_line(tmp_path, server, status, error, expected):
    server.pages["/x.txt"] = (status, b"")
    path = f"{server.address}/x.txt"
    with pytest.raises(error) as caught:
        records(tmp_path, path=path)
    assert str(caught.value).startswith(f"{path}: {expected}")
    assert "\n" not in str(caught.value)
    assert outside_fingerprints(ingest_params(tmp_path, {"kind": "files", "path": path})) == {}


@pytest.mark.parametrize(
    ("path", "error", "expected"),
    [
        ("http://127.0.0.1:9/x.txt", TryAgainError, "the server does not answer"),
        ("s3://bucket/x.txt", DataError, "pip install 'wordmill[s3]'"),
        ("gs://bucket/x.txt", DataError, "pip install 'wordmill[gcs]'"),
        ("foo://x.txt", DataError, "Protocol not known: foo"),
    ],
)
def test_no_way_to_an_address_is_one_line(tmp_path, monkeypatch, path, error, expected):
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    monkeypatch.setitem(__import__("sys").modules, "gcsfs", None)
    with pytest.raises(error) as caught:
        records(tmp_path, path=path)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("raised", "error", "expected"),
    [
        ("EndpointConnectionError", TryAgainError, "the server does not answer: Could not connect"),
        ("ReadTimeoutError", TryAgainError, "the server does not answer: Read timeout"),
        ("NoCredentialsError", DataError, "can't be read: Unable to locate credentials"),
    ],
)
def test_what_the_package_of_s3_raises_is_one_line(raised, error, expected):
    botocore = pytest.importorskip("botocore.exceptions", reason="needs 'wordmill[s3]'")
    with pytest.raises(error) as caught, addresses.errors_named("s3://bucket/x.txt"):
        raise getattr(botocore, raised)(endpoint_url="http://127.0.0.1:9")
    assert str(caught.value).startswith(f"s3://bucket/x.txt: {expected}")


def test_passwords_are_not_shown():
    shown = addresses.shown("https://ann:secret@host:81/x.csv?sig=secret")
    assert shown == "https://host:81/x.csv"


@pytest.fixture
def database(tmp_path):
    file = tmp_path / "news.db"
    with contextlib.closing(sqlite3.connect(file)) as made, made:
        made.execute("create table news (id integer, body text, title text)")
        made.executemany(
            "insert into news values (?, ?, ?)", [(n, f"body {n}", f"t{n}") for n in range(2500)]
        )
    return f"sqlite:///{file}"


NEWS = {"kind": "sql", "query": "select * from news order by id"}
PAIRS = {"columns": {"task": "summarize", "source": "body", "target": "title"}}


def test_a_query_gives_rows(tmp_path, database):
    found = records(tmp_path, **NEWS, **PAIRS, url=database)
    assert len(found) == 2500
    assert (found[7].source, found[7].target) == ("body 7", "t7")


@pytest.mark.parametrize("query", ["drop table news", "delete from news", "update news set id = 0"])
def test_a_query_cannot_write(tmp_path, database, query):
    with pytest.raises(DataError) as caught:
        records(tmp_path, **{**NEWS, "query": query}, **PAIRS, url=database)
    assert "\n" not in str(caught.value)
    found = records(tmp_path, **NEWS, **PAIRS, url=database)
    assert (len(found), found[7].source) == (2500, "body 7")


def test_a_version_query_tells_whether_to_read(tmp_path, database):
    root = tmp_path / "raw"
    one = {**NEWS, **PAIRS, "url": database, "version_query": "select count(*) from news"}
    assert ingest(root, one).report()["outside"] == {database: "2500"}
    before = bytes_of(tmp_path / "out")
    assert ingest(root, one).num_unchanged == 1
    assert bytes_of(tmp_path / "out") == before
    with contextlib.closing(sqlite3.connect(database.removeprefix("sqlite:///"))) as made, made:
        made.execute("insert into news values (-1, 'new', 'n')")
    assert ingest(root, one).num_unchanged == 0
    del one["version_query"]
    assert ingest(root, one).report()["outside"] == {}
    assert ingest(root, one).num_unchanged == 0


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"query": "selec 1"}, "the query can't be answered: near"),
        ({"query": "select * from no"}, "the query can't be answered: no such table: no"),
        ({"query": "delete from news"}, "the query can't be answered"),
        ({"url": "sqlite:////tmp/no/such.db"}, "no such file: /tmp/no/such.db"),
        ({"url": "foo://x/y"}, "not an address of a database"),
        ({"url": "what"}, "not an address of a database"),
        ({"url": "postgresql://host:port/news"}, "not an address of a database"),
        ({"url": "oracle+oracledb://x/y"}, "its driver is not here: install 'oracledb'"),
    ],
)
def test_a_wrong_query_is_one_line(tmp_path, database, change, expected):
    with pytest.raises(DataError) as caught:
        records(tmp_path, **{**NEWS, **PAIRS, "url": database, **change})
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(records(tmp_path, **NEWS, **PAIRS, url=database)) == 2500


def test_a_database_that_is_away_may_come_back(tmp_path):
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'wordmill[postgres]'")
    with pytest.raises(TryAgainError, match="the database does not answer") as caught:
        records(tmp_path, **NEWS, url="postgresql://ann@127.0.0.1:9/news")
    assert "\n" not in str(caught.value)


def test_a_password_is_refused_and_hidden(tmp_path):
    for url in ("postgresql://ann:secret@host/news", "postgresql://host/news?password=secret"):
        with pytest.raises(ValueError, match="PGPASSWORD"):
            ingest_params(tmp_path, {**NEWS, "url": url})
        assert "secret" not in sql.shown_url(url)


def test_a_hub_data_set_is_read_by_name_and_split(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "corpus"
    folder.mkdir()
    rows = [json.dumps({"body": f"b{i}", "title": f"t{i}"}) for i in range(3)]
    (folder / "train.jsonl").write_text("\n".join(rows))
    one = {"kind": "huggingface", "name": str(folder), **PAIRS}
    found = records(tmp_path, **one)
    assert [(r.source, r.target) for r in found] == [("b0", "t0"), ("b1", "t1"), ("b2", "t2")]
    with pytest.raises(DataError, match="can't be loaded"):
        records(tmp_path, **one, hub_split="nope")
    assert ingest(tmp_path / "raw", one).num_unchanged == 0
    assert ingest(tmp_path / "raw", one).num_unchanged == 1
    (folder / "train.jsonl").write_text("\n".join(rows[:2]))
    assert ingest(tmp_path / "raw", one).num_unchanged == 0
    assert source_name(ingest_params(tmp_path, one).sources[0]) == f"{folder} (train)"

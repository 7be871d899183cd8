"""A real PostgreSQL server as a source."""

import pytest
from growing import postgres_server
from ingesting import ingest, records, results

from wordmill.data.quarantine import BadRow
from wordmill.errors import DataError

NEWS = {"kind": "sql", "query": "select * from news order by id"}
PAIRS = {"columns": {"task": "summarize", "source": "body", "target": "title"}}


@pytest.fixture(scope="module")
def postgres():
    """A PostgreSQL server of our own, on a socket in a folder of its own."""
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'wordmill[postgres]'")
    with postgres_server() as server:
        yield f"postgresql://ann@/postgres?host={server.folder}&port={server.port}"


@pytest.mark.slow
def test_postgresql_streams_its_rows(tmp_path, postgres):
    import psycopg

    with psycopg.connect(postgres) as made:
        made.execute(
            "create table news as select n as id, 'Körper ' || n as body, '标题' as title,"
            " 1.5 as score from generate_series(1, 30000) n"
        )
    root = tmp_path / "raw"
    one = {**NEWS, **PAIRS, "url": postgres, "version_query": "select max(id) from news"}
    report = ingest(root, one).report()
    assert report["sources"][0]["pairs"] == 30_000
    assert list(report["outside"].values()) == ["30000"]
    assert ingest(root, one).num_unchanged == 1
    (first, *_) = records(tmp_path, **{**NEWS, **PAIRS, "url": postgres})
    assert (first.source, first.target) == ("Körper 1", "标题")
    bad = results(
        tmp_path, **{**NEWS, "url": postgres, "columns": {"task": "write", "text": "score"}}
    )
    assert isinstance(bad[0], BadRow)
    assert bad[0].reason == "not_text"
    for query, expected in [
        ("selec 1", "syntax error"),
        ("select 1/0 as body", "division by zero"),
        ("drop table news", "can't be answered"),
    ]:
        with pytest.raises(DataError, match=expected) as caught:
            records(tmp_path, **{**NEWS, **PAIRS, "url": postgres, "query": query})
        assert "\n" not in str(caught.value)
    assert len(records(tmp_path, **{**NEWS, **PAIRS, "url": postgres})) == 30_000
    with pytest.raises(DataError, match='database "nope" does not exist'):
        records(tmp_path, **{**NEWS, "url": postgres.replace("/postgres?", "/nope?")})

"""A real PostgreSQL server as a source."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from ingesting import ingest, records, results

from wordmill.data.quarantine import BadRow
from wordmill.errors import DataError

NEWS = {"kind": "sql", "query": "select * from news order by id"}
PAIRS = {"columns": {"task": "summarize", "source": "body", "target": "title"}}


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    """A PostgreSQL server of our own, on a socket in a folder of its own."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = shutil.which("initdb") or (str(programs[-1]) if programs else None)
    if found is None:
        pytest.skip("no PostgreSQL server programs (initdb, pg_ctl) on this machine")
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'wordmill[postgres]'")
    folder = tmp_path_factory.mktemp("pg")
    user = {}
    if os.geteuid() == 0:  # it refuses to run as root
        user = {"user": "postgres"}
        for parent in (folder, *folder.parents[:3]):
            parent.chmod(parent.stat().st_mode | 0o711)
        shutil.chown(folder, "postgres")

    def run(*command):
        env = {"PATH": f"{Path(found).parent}:{os.environ['PATH']}", "LC_ALL": "C"}
        subprocess.run(command, check=True, cwd=folder, env=env, stdout=subprocess.DEVNULL, **user)

    run("initdb", "--auth", "trust", "--username", "ann", "--encoding", "UTF8", "-D", "data")
    run("pg_ctl", "-D", "data", "-w", "-l", "log", "-o", f"-k {folder} -h ''", "start")
    try:
        yield f"postgresql://ann@/postgres?host={folder}"
    finally:
        run("pg_ctl", "-D", "data", "-w", "-m", "immediate", "stop")


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

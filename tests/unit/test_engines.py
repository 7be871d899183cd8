"""The batch function under every engine: the same table out."""

import warnings

import pyarrow.parquet as pq
import pytest
from conftest import params_of, small_texts

from wordmill.cleaning.batch import CleanBatch
from wordmill.cleaning.engine import cleaned_tables
from wordmill.data.records import Document, document, records_path, write_records
from wordmill.errors import ParamsError
from wordmill.workers import Workers


@pytest.fixture
def path(tmp_path):
    texts = [
        *small_texts(9000, seed=3),
        "<p>one &amp; two</p>",
        "joe@example.org wrote this text",
        "",
    ]
    write_records(tmp_path, [("train", document(text, origin="s")) for text in texts])
    return records_path(tmp_path, Document, "train")


def rows_of(tables):
    return [row for table in tables for row in table.to_pylist()]


CLEAN = CleanBatch(params=params_of("clean"), kind=Document)


def test_batches_do_not_change_what_comes_out(path):
    whole = CLEAN(pq.read_table(path)).to_pylist()
    with Workers(1) as workers:
        parts = rows_of(cleaned_tables(path, CLEAN, engine="local", workers=workers))
    assert len(parts) == 9003
    assert parts == whole
    with Workers(2) as workers:
        assert rows_of(cleaned_tables(path, CLEAN, engine="local", workers=workers)) == whole


def test_the_batch_function_runs_under_datasets_map(path, tmp_path):
    import datasets

    whole = CLEAN(pq.read_table(path)).to_pylist()
    data = datasets.Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "cache"))
    mapped = data.with_format("arrow").map(
        CLEAN, batched=True, batch_size=1000, load_from_cache_file=False
    )
    assert mapped.with_format("arrow")[:].to_pylist() == whole


@pytest.mark.slow
def test_the_batch_function_runs_on_ray(path):
    ray = pytest.importorskip("ray", reason="the extra wordmill[ray] is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own, of threads and of its future
        ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR")
        try:
            with Workers(1) as workers:
                rows = rows_of(cleaned_tables(path, CLEAN, engine="ray", workers=workers))
        finally:
            ray.shutdown()
    assert rows == CLEAN(pq.read_table(path)).to_pylist()


def test_an_engine_that_is_not_installed_is_one_clear_line(path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray.data", None)
    with Workers(1) as workers, pytest.raises(ParamsError, match=r"pip install 'wordmill\[ray\]'"):
        list(cleaned_tables(path, CLEAN, engine="ray", workers=workers))

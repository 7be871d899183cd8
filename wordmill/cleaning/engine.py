"""Where batches are cleaned: on all cores here, or on a Ray cluster.

Both run the same function over the row groups of one file and give the tables in its order.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from wordmill.cleaning.batch import CleanBatch
from wordmill.errors import ParamsError
from wordmill.workers import Workers

Engine = Literal["local", "ray"]


def cleaned_tables(
    path: Path, clean: CleanBatch, *, engine: Engine, workers: Workers
) -> Iterator[pa.Table]:
    """Yield the cleaned row groups of a file of records, in their order.

    Args:
        path: of the file; with `ray`, one that every node sees.
        clean: what is done to each.
        engine: who does it.
        workers: of the local engine.

    Raises:
        ParamsError: the engine is not installed.
    """
    if engine == "ray":
        yield from _on_ray(path, clean)
        return
    groups = range(pq.read_metadata(path).num_row_groups)
    yield from workers.map(partial(_clean_group, path, clean), groups)


def _clean_group(path: Path, clean: CleanBatch, group: int) -> pa.Table:
    with pq.ParquetFile(path) as file:
        return clean(file.read_row_group(group))


def _on_ray(path: Path, clean: CleanBatch) -> Iterator[pa.Table]:
    if pq.read_metadata(path).num_rows == 0:
        return
    data = _ray_data()
    data.DataContext.get_current().execution_options.preserve_order = True
    # An object is called as it is: Ray takes plain functions and classes.
    cleaned = data.read_parquet(str(path)).map_batches(
        lambda table: clean(table), batch_size=None, batch_format="pyarrow"
    )
    yield from cleaned.iter_batches(batch_size=None, batch_format="pyarrow")


def _ray_data() -> Any:
    try:
        import ray.data as data  # an extra: 250 MB that one machine has no use for
    except ModuleNotFoundError:
        raise ParamsError(
            "clean.engine: Ray is not installed; run `pip install 'wordmill[ray]'`, or choose"
            " 'local'"
        ) from None
    return data

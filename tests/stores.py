"""A real MLflow store in a moment, and versions in it that are files alone."""

import random
import sqlite3
from contextlib import closing
from pathlib import Path

from flows.registry import _VERIFIED_TAG, FILES_TAG, Registry
from flows.version_files import LISTING, digest_of, listed, listing_text


def make_store(file: Path) -> str:
    """An empty store as MLflow's own migrations leave it, which take them 10 s; its address."""
    import mlflow.store.model_registry.dbmodels.models
    import mlflow.store.tracking.dbmodels.models  # noqa: F401
    from alembic.script import ScriptDirectory
    from mlflow.store.db.base_sql_model import Base
    from mlflow.store.db.utils import _get_alembic_config
    from sqlalchemy import create_engine

    address = f"sqlite:///{file}"
    for table in Base.metadata.tables.values():  # two of trace_tags name a column that is gone
        table.indexes = {index for index in table.indexes if len(index.columns)}
    engine = create_engine(address)
    Base.metadata.create_all(engine)
    engine.dispose()
    (head,) = ScriptDirectory.from_config(_get_alembic_config(address)).get_heads()
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        database.execute("INSERT INTO alembic_version VALUES (?)", (head,))
    return address


def registered(registry: Registry, folder: Path, *, score: float = 0.0, is_tested=True) -> str:
    """A version whose files are a few random bytes, and whose score is a tag; its number."""
    (folder / "artifacts/model").mkdir(parents=True)
    (folder / "artifacts/model/model.safetensors").write_bytes(random.Random(score).randbytes(999))
    (folder / "MLmodel").write_text(f"score: {score}\n")
    text = listing_text(listed(folder))
    (folder / LISTING).write_text(text)
    tags = {FILES_TAG: digest_of(text), "score": str(score)}
    if is_tested:
        tags[_VERIFIED_TAG] = "true"
    made = registry.client.create_model_version(registry.name, folder.as_uri(), tags=tags)
    return str(made.version)

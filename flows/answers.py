"""Answers of a registered version or of a model folder: `python -P flows/answers.py WHICH`.

A program on its own, which imports nothing of the project by itself: a registered version brings
the code that it was scored with, as it does in a server. Requests come as JSON on standard
input; the answers leave as JSON, the last line of standard output. For a folder, the settings of
its engine come with the requests.
"""

import json
import sys
from pathlib import Path
from typing import Any

Rows = list[dict[str, str]]


def of_version(address: str, rows: Rows) -> dict[str, Any]:
    """The answers of a registered version, and the settings it has."""
    import mlflow
    import pandas as pd

    model = mlflow.pyfunc.load_model(address)
    return {"answers": list(model.predict(pd.DataFrame(rows))), "settings": model.model_config}


def of_folder(folder: Path, rows: Rows, settings: dict[str, Any]) -> dict[str, Any]:
    """The answers of a model folder with the code of this tree."""
    from wordmill.generation.loading import load_engine
    from wordmill.progress import Progress
    from wordmill.tokens.prompts import request

    engine = load_engine(folder, **settings)
    requests = [request(row["task"], row["source"], row.get("ask", "")) for row in rows]
    return {"answers": engine.answer(requests, progress=Progress("answers"))}


if __name__ == "__main__":
    which, asked = sys.argv[1], json.load(sys.stdin)
    is_version = which.startswith("models:/")
    found = (
        of_version(which, asked["rows"])
        if is_version
        else of_folder(Path(which), asked["rows"], asked["settings"])
    )
    print(json.dumps(found))

"""Does a registered version answer as a model folder does? `python -m flows.parity URI FOLDER`.

Runs in a process of its own, as a server would, with the requests as JSON on standard input;
leaves with status 0 if every answer is the same.
"""

import json
import sys
from pathlib import Path

import mlflow
import pandas as pd

from wordmill.generation.loading import load_engine
from wordmill.progress import Progress
from wordmill.tokens.prompts import request


def main(uri: str, folder: Path, rows: list[dict[str, str]]) -> int:
    """Compare the answers and return the exit status."""
    registered = mlflow.pyfunc.load_model(uri)
    found = registered.predict(pd.DataFrame(rows))
    engine = load_engine(folder, **registered.model_config)
    requests = [request(row["task"], row["source"]) for row in rows]
    wanted = engine.answer(requests, progress=Progress("answers"))
    differing = [i for i, (a, b) in enumerate(zip(found, wanted, strict=True)) if a != b]
    if differing:
        message = f"{len(differing)} of {len(rows)} answers differ, row {differing[0]} first"
        print(message, file=sys.stderr)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), json.load(sys.stdin)))

"""The registered model: MLflow runs this file to load a version and to ask it.

A request is a row with `task`, `source` and perhaps `ask`; the answer is a text. The engine and
the decoding are those of the evaluate stage: a version answers as it did when it was scored. This
file is stored with each version, beside a copy of wordmill/; it imports nothing else of the
project.
"""

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

from wordmill.generation.loading import load_engine
from wordmill.progress import Progress
from wordmill.tokens.prompts import request


class TextGenerator(PythonModel):
    """Answers rows of `task`, `source` and perhaps `ask`."""

    def load_context(self, context: Any) -> None:
        """Load the model folder that was registered."""
        self._engine = load_engine(Path(context.artifacts["model"]), **context.model_config)

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> Any:  # the base says None
        """Answer each row with a text."""
        columns = [model_input["task"], model_input["source"]]
        if "ask" in model_input:
            columns.append(model_input["ask"].fillna(""))
        requests = [request(*row) for row in zip(*columns, strict=True)]
        return self._engine.answer(requests, progress=Progress("answers"))


set_model(TextGenerator())

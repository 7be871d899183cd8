"""The registered model: MLflow runs this file to load a version and to ask it.

A request is a row with `task`, `source` and perhaps `ask`; the answer is a text. The engine and
the decoding are those of the evaluate stage: a version answers as it did when it was scored,
unless a request's params ask for another decoding. This file is stored with each version, beside
a copy of wordmill/; it imports nothing else of the project.
"""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel
from pydantic import ValidationError

from wordmill.errors import WordmillError
from wordmill.generation.engine import Engine
from wordmill.models.folder import load_model, load_tokenizer
from wordmill.params.decoding import DecodingParams
from wordmill.progress import Progress
from wordmill.tokens.prompts import Request, request

_COLUMNS = ("task", "source", "ask")
_PARAMS = tuple(DecodingParams.model_fields)
_BEFORE_PREDICT = "_validate_prediction_input"


class TextGenerator(PythonModel):
    """Answers rows of `task`, `source` and perhaps `ask`."""

    def load_context(self, context: Any) -> None:
        """Load the model folder that was registered."""
        folder = Path(context.artifacts["model"])
        self._model, self._tokenizer = load_model(folder), load_tokenizer(folder)
        self._settings: dict[str, Any] = dict(context.model_config)
        self._settings.pop("tasks", None)  # for those who ask; the engine takes any
        self._decoding: dict[str, Any] = self._settings.pop("decoding")
        self._engine = self._with_decoding(self._decoding)
        _refuse_unknown()

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> Any:  # the base says None
        """Answer each row with a text; params are values of the decoding."""
        engine = self._engine_for(params)
        try:
            return engine.answer(_requests(model_input), progress=Progress("answers"))
        except WordmillError as error:
            raise _refused(str(error)) from None

    def predict_stream(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> Iterator[Any]:
        """Answer each row in turn, piece by piece."""
        engine = self._engine_for(params)
        try:
            for asked in _requests(model_input):
                yield from engine.stream(asked)
        except WordmillError as error:
            raise _refused(str(error)) from None

    def _engine_for(self, params: dict[str, Any] | None) -> Engine:
        wanted = {**self._decoding, **{name: _plain(v) for name, v in (params or {}).items()}}
        if wanted == self._decoding:
            return self._engine
        try:
            return self._with_decoding(wanted)
        except ValidationError as error:
            raise _refused("; ".join(map(_in_words, error.errors()))) from None
        except WordmillError as error:
            raise _refused(str(error)) from None

    def _with_decoding(self, decoding: dict[str, Any]) -> Engine:
        return Engine(
            self._model,
            self._tokenizer,
            decoding=DecodingParams.model_validate(decoding),
            **self._settings,
        )


def _refuse_unknown() -> None:
    """Have requests refused that name a param or a column that there is not.

    MLflow takes them out before `predict` sees them and tells its own log alone: an answer with the
    default decoding would pass for one with what was asked. Of other models in the process
    nothing changes. An MLflow without the function that is wrapped here goes on leaving them out.
    """
    before: Callable[..., Any] | None = getattr(mlflow.pyfunc, _BEFORE_PREDICT, None)
    if before is None or hasattr(before, "__wrapped__"):
        return

    @functools.wraps(before)
    def checked(data: Any, params: Any, input_schema: Any, params_schema: Any, *rest: Any) -> Any:
        if params_schema is not None and {p.name for p in params_schema.params} == {*_PARAMS}:
            _check_names("params", params if isinstance(params, dict) else {}, _PARAMS)
            if isinstance(data, pd.DataFrame):
                _check_names("columns", data.columns, _COLUMNS)
        return before(data, params, input_schema, params_schema, *rest)

    setattr(mlflow.pyfunc, _BEFORE_PREDICT, checked)


def _check_names(what: str, found: Any, allowed: tuple[str, ...]) -> None:
    if unknown := [str(name) for name in found if name not in allowed]:
        raise _refused(f"unknown {what}: {', '.join(unknown)}; allowed: {', '.join(allowed)}")


def _refused(words: str) -> MlflowException:
    """A server answers it with status 400 and these words."""
    return MlflowException(words, error_code=INVALID_PARAMETER_VALUE)


def _in_words(error: Any) -> str:
    said = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:  # values that do not go together
        return said
    return f"{'.'.join(map(str, error['loc']))}: {said}; got {error['input']!r:.60}"


def _requests(model_input: pd.DataFrame) -> list[Request]:
    columns = [model_input["task"], model_input["source"]]
    if "ask" in model_input:
        columns.append(model_input["ask"].fillna(""))
    return [request(*row) for row in zip(*columns, strict=True)]


def _plain(value: Any) -> Any:
    """A value as Python has it: MLflow hands over numpy's."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


set_model(TextGenerator())

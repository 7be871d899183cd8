"""The metrics of this tree that `evaluate` reports, loaded by path: nothing comes from a hub.

Each module adapts pure functions of this package; what it reports holds their statistics, from
which intervals and tests are made. Importing `evaluate` takes seconds, and waits for the first.
"""

from functools import cache
from pathlib import Path
from typing import Any, Literal

from wordmill.metrics.score import Statistics

_MODULES = Path(__file__).parent / "modules"

Module = Literal["bleu", "chrf", "perplexity", "rouge"]


def reported(module: Module, **inputs: Any) -> dict[str, Statistics]:
    """What a module reports, by the name of the score.

    Args:
        module: its file's name.
        inputs: lists of one value an example, and settings.
    """
    return load_module(module).compute(**inputs)["statistics"]


@cache
def load_module(module: Module) -> Any:
    """An `evaluate.Metric`."""
    import evaluate

    return evaluate.load(str(_MODULES / f"{module}.py"), keep_in_memory=True)

"""Sources outside of the folder that DVC watches: did one of them move on?"""

import json
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wordmill.params.ingest import IngestParams

_RECORD = Path("data/ingest/sources.json")
_PYTHON_DOCS = "python-docs"


def moved_on(ingest: Any) -> list[str]:
    """In words, each source that is no longer what the last ingest saw.

    Where this Python alone is outside, as in the default project, nothing heavy is imported.

    Args:
        ingest: the section of params.yaml.

    Raises:
        ParamsError: the section is wrong.
    """
    seen = _seen()
    if not seen:
        return []
    is_default = isinstance(ingest, dict) and ingest.get("sources") == [{"kind": _PYTHON_DOCS}]
    if is_default and set(seen) == {_PYTHON_DOCS}:
        return _told(seen, {_PYTHON_DOCS: _this_python()})
    from wordmill.params.ingest import IngestParams
    from wordmill.params.section import parse_params

    return sources_that_moved_on(parse_params(IngestParams, ingest, file=Path("params.yaml")))


def sources_that_moved_on(params: "IngestParams") -> list[str]:
    """In words, each source that is no longer what the last ingest saw."""
    from wordmill.data.sources import outside_fingerprints

    seen = _seen()
    return _told(seen, outside_fingerprints(params)) if seen else []


def _seen() -> dict[str, str]:
    return json.loads(_RECORD.read_text())["outside"] if _RECORD.exists() else {}


def _told(seen: dict[str, str], now: dict[str, str]) -> list[str]:
    return [
        f"{name} moved from {seen[name]} to {fingerprint}"
        for name, fingerprint in now.items()
        if name in seen and seen[name] != fingerprint
    ]


def _this_python() -> str:
    """As wordmill.data.python_docs tells it; a test holds the two equal."""
    return f"{platform.python_implementation()} {platform.python_version()}"

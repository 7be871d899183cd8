"""Sources outside of the folder that DVC watches: did one of them move on?"""

import json
from pathlib import Path

from wordmill.data.sources import outside_fingerprints
from wordmill.params.ingest import IngestParams

_RECORD = Path("data/ingest/sources.json")


def sources_that_moved_on(params: IngestParams) -> list[str]:
    """In words, each source that is no longer what the last ingest saw."""
    if not _RECORD.exists():
        return []
    seen: dict[str, str] = json.loads(_RECORD.read_text())["outside"]
    now = outside_fingerprints(params)
    return [
        f"{name} moved from {seen[name]} to {fingerprint}"
        for name, fingerprint in now.items()
        if name in seen and seen[name] != fingerprint
    ]

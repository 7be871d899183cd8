"""How pages are made from templates: all text is escaped, and a missing value is an error."""

from pathlib import Path
from typing import Any

import jinja2


def environment(folder: Path, **filters: Any) -> Any:
    """What reads the templates of a folder; `number` writes 1,234.

    Args:
        folder: of the templates.
        filters: more of them, by name.
    """
    made: Any = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"number": lambda value: f"{value:,}", **filters}
    return made

"""`registry`: the name under which versions are registered, and the gate before the champion.

No stage of the DAG reads it.
"""

from typing import Annotated

from pydantic import Field

from wordmill.params.gate import GateParams
from wordmill.params.section import Section


class RegistryParams(Section):
    """The `registry` section."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]
    """The registered model's name in MLflow: `models:/NAME@champion`."""
    is_diff_kept: bool
    """Whether a version keeps the patch of what was not committed; without it, it can't be made
    again from a tree that was changed."""
    gate: GateParams

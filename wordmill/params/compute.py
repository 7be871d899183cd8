"""`compute`: the devices that training runs on. They move results by rounding alone."""

from typing import Annotated, Literal

from pydantic import Field

from wordmill.params.section import Section

Count = Annotated[int, Field(ge=1)]


class ComputeParams(Section):
    """The `compute` section."""

    accelerator: Literal["auto", "cpu", "cuda"]
    devices: Count
    """Processes on each node, each with a GPU or a share of the CPU."""
    num_nodes: Count
    strategy: Literal["auto", "ddp", "fsdp"]
    """How they share the work; `auto`: one device alone, several by ddp."""

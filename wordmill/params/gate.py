"""`registry.gate`: what a new version must show before it takes the champion's place."""

from typing import Annotated

from pydantic import AfterValidator, Field

from wordmill.params.section import Section
from wordmill.report.measures import measure

Share = Annotated[float, Field(ge=0, le=1)]
AtLeastZero = Annotated[float, Field(ge=0)]
ScoreName = Annotated[str, Field(pattern=r"^(documents|[a-z]+)/[A-Za-z0-9_]+$")]


def _one_way(name: str) -> str:
    if measure(name.rpartition("/")[2]).better not in ("lower", "higher"):
        raise ValueError(
            f"got '{name}'; more of it is not better, nor is less: it can have a floor, not decide"
        )
    return name


class GateParams(Section):
    """The rules of the gate; scores are named `KIND/METRIC`, such as `summarize/rougeL`."""

    primary: Annotated[ScoreName, AfterValidator(_one_way)] | None
    """The score that must be better; null: the primary one of the first task with pairs, by the
    alphabet, and bits per byte of documents where there are no pairs."""
    min_gain: AtLeastZero
    """By more than this."""
    max_p: Annotated[float, Field(gt=0, lt=1)]
    """Both paired tests must find so small a p."""
    max_loss: Share | None
    """The share of the champion's score by which any other task with pairs may be worse; null is
    off."""
    max_documents_loss: Share | None
    """The same for bits per byte of documents, where they are not the primary kind."""
    floors: dict[ScoreName, float]
    """Scores that must be reached whatever the champion has; a ceiling where lower is better."""
    min_speed: AtLeastZero | None
    """Tokens/s, as a share of the champion's in the same job."""
    max_megabytes: Annotated[float, Field(gt=0)] | None
    """Of the model's folder."""
    max_lean_bits: AtLeastZero | None
    """Of any group of the bias probe, either way."""
    max_memorized: Share | None
    """Of training texts that come back word for word."""
    max_personal: Annotated[int, Field(ge=0)] | None
    """Masked personal data that came back."""
    min_seed_deviations: AtLeastZero
    """The gain in standard deviations of what another seed alone changes; 0 asks for none."""

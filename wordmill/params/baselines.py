"""`baselines`: the models that stand beside the one that is trained."""

from typing import Annotated

from pydantic import Field

from wordmill.params.length import TrainingLength
from wordmill.params.model import LstmParams
from wordmill.params.section import Section


class LstmBaselineParams(Section):
    """An LSTM with attention, trained on the pairs alone, from scratch.

    What is not said here (clipping, weight decay, schedule, ...) is as in `finetune`.
    """

    is_on: bool
    sizes: LstmParams
    length: TrainingLength
    batch_size: Annotated[int, Field(ge=1)]
    lr: Annotated[float, Field(gt=0)]
    warmup_steps: Annotated[int, Field(ge=0)]


class BaselinesParams(Section):
    """The `baselines` section."""

    lstm: LstmBaselineParams

"""Prompts and targets as token ids: training and generation build them here and nowhere else."""

from collections.abc import Sequence
from typing import NamedTuple

from transformers import PreTrainedTokenizerFast

from wordmill.errors import ParamsError
from wordmill.tasks import CUES, TASKS, Task, answer_text
from wordmill.tokens.tokenizer import encode_batch, end_id


class Request(NamedTuple):
    """What is asked of a model."""

    task: Task
    source: str


def request(task: str, source: str) -> Request:
    """A request whose task comes from outside.

    Raises:
        ParamsError: there is no such task.
    """
    for known in TASKS:
        if task == known:
            return Request(known, source)
    raise ParamsError(f"task: got '{task}'; allowed: {', '.join(TASKS)}")


class Prompts:
    """Encodes requests and targets.

    Args:
        tokenizer: the model's own.
        max_source_tokens: where a source is cut; the cue after it stays whole.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, *, max_source_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._max_source_tokens = max_source_tokens
        self._end_id = end_id(tokenizer)
        self._cues = dict(zip(CUES, encode_batch(tokenizer, list(CUES.values())), strict=True))
        self.num_cut = 0
        """Sources that were cut so far."""

    def encode(self, requests: Sequence[Request]) -> list[list[int]]:
        """The token ids that a model is given for each request."""
        sources = encode_batch(self._tokenizer, [request.source for request in requests])
        self.num_cut += sum(len(ids) > self._max_source_tokens for ids in sources)
        return [
            [self._end_id, *ids[: self._max_source_tokens], *self._cues[request.task]]
            for request, ids in zip(requests, sources, strict=True)
        ]

    def encode_targets(self, targets: Sequence[str], *, max_tokens: int) -> list[list[int]]:
        """The token ids that a model learns to answer with, the end token included."""
        texts = [answer_text(target) for target in targets]
        return [[*ids[:max_tokens], self._end_id] for ids in encode_batch(self._tokenizer, texts)]

"""From sources to answers: the one path behind evaluation, the command line and the registry.

Prompts of like length are decoded together. A causal model goes on from the prompt, padded on
the left; an encoder reads the prompt, padded on the right, and its decoder answers. The same list
of requests gives the same answers everywhere; what is drawn for one does not depend on the others.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from wordmill.errors import ParamsError
from wordmill.generation.answers import Answer, AnswerTexts, Said
from wordmill.generation.choosing import Choice, draws_of
from wordmill.generation.likelihood import Scored, log_likelihoods
from wordmill.generation.limits import check_answers_fit, check_prompts_fit
from wordmill.generation.loop import Asked, decode
from wordmill.generation.ngram import ngram_beams
from wordmill.generation.searching import generated
from wordmill.generation.steppers import Stepper, new_stepper
from wordmill.models.encoder_decoder import decoder_start_id
from wordmill.models.ngram_model import NgramModel
from wordmill.progress import Progress
from wordmill.tasks import answer_text
from wordmill.tokens.encoding import PlainEncoder
from wordmill.tokens.prompts import Prompts, Request
from wordmill.tokens.tokenizer import end_id, pad_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PreTrainedTokenizerFast

    from wordmill.models.folder import Model
    from wordmill.params.decoding import DecodingParams


Labels = dict[str, list[str]]
"""What is asked of `classify` -> the labels to choose from."""


class _Item(NamedTuple):
    """One row to decode: a prompt, and which sequence of it."""

    prompt: list[int]
    request: int
    number: int


class Engine:
    """Answers requests with a model.

    Args:
        model: any transformers model, ready to generate, or an n-gram model.
        tokenizer: the model's own.
        decoding: how the model's distribution becomes text.
        max_source_tokens: where a source is cut, as in training.
        batch_size: rows decoded at once.
        labels: of `classify`, by what is asked; of a request that asks so the likeliest of them
            is the answer, and nothing else can be.

    Raises:
        ParamsError: the answers may be longer than the decoder can say.
    """

    def __init__(
        self,
        model: Model,
        tokenizer: PreTrainedTokenizerFast,
        *,
        decoding: DecodingParams,
        max_source_tokens: int,
        batch_size: int,
        labels: Labels | None = None,
    ) -> None:
        self._labels = labels or {}
        self._model, self._decoding, self._batch_size = model, decoding, batch_size
        self._encoder = PlainEncoder(tokenizer)
        self._prompts = Prompts(self._encoder, max_source_tokens=max_source_tokens)
        self._end_id, self._pad_id = end_id(tokenizer), pad_id(tokenizer)
        self._texts = AnswerTexts(tokenizer, decoding.stop)
        self._choice = Choice(decoding, end_id=self._end_id)
        self._start_id = None
        if not isinstance(model, NgramModel) and model.config.is_encoder_decoder:
            self._start_id = decoder_start_id(model)
        check_answers_fit(model, decoding.max_new_tokens)

    def answer(self, requests: list[Request], *, progress: Progress) -> list[str]:
        """Decode an answer to each request, in the order of the requests.

        Raises:
            ParamsError: a prompt is longer than the model takes.
        """
        return [answers[0].text for answers in self.generate(requests, progress=progress)]

    def generate(
        self, requests: list[Request], *, progress: Progress, num_sequences: int = 1
    ) -> list[list[Answer]]:
        """Decode answers to each request, in the order of the requests.

        Args:
            requests: may be none.
            progress: counts requests, and says how many tokens a second are made.
            num_sequences: answers to each request: as many draws, or the best of the beams.

        Raises:
            ParamsError: a prompt is longer than the model takes, or there are not so many answers.
        """
        choosing = [row for row, asked in enumerate(requests) if self._labels_of(asked)]
        if choosing:
            return self._some_chosen(requests, choosing, progress, num_sequences)
        self._check_number(num_sequences)
        prompts = self._encoded(requests)
        copies = num_sequences if self._decoding.is_sampled else 1
        items = [
            _Item(ids, request, number)
            for request, ids in enumerate(prompts)
            for number in range(copies)
        ]
        items.sort(key=lambda item: (-len(item.prompt), item.request, item.number))
        answers: list[list[Answer]] = [[] for _ in requests]
        stepper = self._stepper() if items else None
        started_at, num_tokens = time.monotonic(), 0
        for start in range(0, len(items), self._batch_size):
            chosen = items[start : start + self._batch_size]
            found = self._decode(stepper, chosen, num_sequences // copies)
            for item, said in zip(chosen, found, strict=True):
                answers[item.request] += [self._texts.answer(one) for one in said]
                num_tokens += sum(len(one.ids) for one in said)
            rate = num_tokens / max(time.monotonic() - started_at, 1e-9)
            done = (start + len(chosen)) // copies - start // copies
            progress.advance(done, note=f"{rate:,.0f} tokens/s")
        return answers

    def _labels_of(self, asked: Request) -> list[str]:
        return self._labels.get(asked.ask, []) if asked.task == "classify" else []

    def _some_chosen(
        self, requests: list[Request], rows: list[int], progress: Progress, num_sequences: int
    ) -> list[list[Answer]]:
        """Choose the answers of `rows`, each once, and write the others."""
        is_chosen = set(rows)
        writing = [row for row in range(len(requests)) if row not in is_chosen]
        written = self.generate(
            [requests[row] for row in writing], progress=progress, num_sequences=num_sequences
        )
        asked = [requests[row] for row in rows]
        labels = [self._labels_of(one) for one in asked]
        places = self.choose(asked, labels, progress=Progress("labels"))
        progress.advance(len(rows))
        found = dict(zip(writing, written, strict=True))
        for row, of_row, place in zip(rows, labels, places, strict=True):
            found[row] = [Answer(of_row[place], 0, True)]
        return [found[row] for row in range(len(requests))]

    def choose(
        self, requests: list[Request], labels: list[list[str]], *, progress: Progress
    ) -> list[int]:
        """The place of the likeliest label of each request, of equal ones the first.

        Args:
            requests: may be none.
            labels: of each request, at least one.
            progress: counts labels.

        Raises:
            ParamsError: a request has no labels, or a prompt is longer than the model takes.
        """
        if not all(labels):
            raise ParamsError(f"request {labels.index([]) + 1} has no labels to choose from")
        scored = self._labelled(requests, labels)
        different = sorted(scored.values(), key=lambda one: -len(one.prompt) - len(one.answer))
        likelihoods: dict[tuple[tuple[int, ...], ...], float] = {}
        for start in range(0, len(different), self._batch_size):
            chosen = different[start : start + self._batch_size]
            found = log_likelihoods(self._model, chosen, pad_id=self._pad_id)
            for one, value in zip(chosen, found, strict=True):
                likelihoods[_key(one)] = value
            progress.advance(len(chosen))
        best: list[int] = []
        for request in range(len(requests)):
            values = [
                likelihoods[_key(scored[request, label])] for label in range(len(labels[request]))
            ]
            best.append(values.index(max(values)))
        return best

    def stream(self, request: Request) -> Iterator[str]:
        """Pieces of the answer's text as they come; joined they are what `answer` gives.

        A search over beams, a label, and a model that the loop does not serve give one piece.

        Raises:
            ParamsError: the prompt is longer than the model takes.
        """
        if self._labels_of(request):
            yield self.answer([request], progress=Progress("label"))[0]
            return
        items = [_Item(self._encoded([request])[0], 0, 0)]
        stepper = self._stepper()
        if stepper is None or self._decoding.num_beams > 1:
            [[found]] = self._decode(stepper, items, 1)
            yield from filter(None, [self._texts.text(found.ids)])
            return
        said, shown = [Said()], ""
        is_stopped = self._texts.is_stopped
        asked = self._asked(items)
        pauses = decode(
            stepper, self._choice, asked, said=said, is_stopped=is_stopped, is_paused=True
        )
        for _ in pauses:
            settled = self._texts.settled(said[0].ids)
            if len(settled) > len(shown):
                yield settled[len(shown) :]
                shown = settled
        yield from filter(None, [self._texts.text(said[0].ids)[len(shown) :]])

    def _check_number(self, num_sequences: int) -> None:
        decoding = self._decoding
        if num_sequences == 1 or decoding.is_sampled or num_sequences <= decoding.num_beams:
            return
        raise ParamsError(
            f"got {num_sequences} answers a request; without a temperature above 0 there are as"
            f" many as num_beams, {decoding.num_beams}: raise either"
        )

    def _encoded(self, requests: list[Request]) -> list[list[int]]:
        prompts = self._prompts.encode(requests)
        check_prompts_fit(self._model, prompts, self._decoding.max_new_tokens)
        return prompts

    def _stepper(self) -> Stepper | None:
        """Anew for each call: it may hold copies of weights, which training changes."""
        return new_stepper(self._model, pad_id=self._pad_id)

    def _asked(self, items: list[_Item]) -> Asked:
        decoding, prompts = self._decoding, [item.prompt for item in items]
        draws = None
        if decoding.is_sampled:
            numbers = [item.number for item in items]
            steps = decoding.max_new_tokens
            draws = draws_of(prompts, numbers, seed=decoding.seed, num_steps=steps)
        given = prompts if self._start_id is None else [[self._start_id]] * len(prompts)
        return Asked(prompts, given, draws, decoding.max_new_tokens, self._end_id)

    def _decode(
        self, stepper: Stepper | None, items: list[_Item], num_best: int
    ) -> list[list[Said]]:
        """The best answers to each row, the best first; more than one only with beams."""
        is_searched, is_stopped = self._decoding.num_beams > 1, self._texts.is_stopped
        if isinstance(self._model, NgramModel) and is_searched:
            return [self._ngram_best(item.prompt, num_best) for item in items]
        asked = self._asked(items)
        if stepper is not None and not is_searched:
            said = [Said() for _ in items]
            list(decode(stepper, self._choice, asked, said=said, is_stopped=is_stopped))
            return [[one] for one in said]
        assert not isinstance(self._model, NgramModel)  # it has a stepper
        return generated(
            self._model,
            asked,
            self._decoding,
            pad_id=self._pad_id,
            num_sequences=num_best,
            is_stopped=is_stopped,
        )

    def _ngram_best(self, prompt: list[int], num_best: int) -> list[Said]:
        assert isinstance(self._model, NgramModel)
        found = ngram_beams(self._model, prompt, self._decoding)[:num_best]
        cut = [Said() for _ in found]
        for said, whole in zip(cut, found, strict=True):
            ids = [*whole.ids, self._end_id] if whole.is_ended else whole.ids
            said.take(ids, end_id=self._end_id, is_stopped=self._texts.is_stopped)
        return cut

    def _labelled(
        self, requests: list[Request], labels: list[list[str]]
    ) -> dict[tuple[int, int], Scored]:
        """What to score for each label, by the places of request and label."""
        prompts = self._prompts.encode(requests)
        places = [(i, k) for i, row in enumerate(labels) for k in range(len(row))]
        answers = self._encoder.encode([answer_text(labels[i][k]) for i, k in places]).as_lists()
        scored = {
            (i, k): Scored(prompts[i], [*ids, self._end_id])
            for (i, k), ids in zip(places, answers, strict=True)
        }
        longest = max((len(one.answer) - 1 for one in scored.values()), default=0)
        check_prompts_fit(self._model, prompts, longest)
        return scored


def _key(one: Scored) -> tuple[tuple[int, ...], ...]:
    return tuple(one.prompt), tuple(one.answer)

"""What is asked of the models besides: bias, memorization, surprise, attention."""

import logging
from collections.abc import Iterator, Sequence
from typing import TypedDict

from transformers import PreTrainedTokenizerFast

from stages.held_out import Sets
from stages.stage import Stage
from wordmill.data.records import Document, Pair, read_records
from wordmill.evaluation.comparison import FINAL, TRAINED
from wordmill.models.folder import Model
from wordmill.params.evaluate import EvaluateParams
from wordmill.probes.attention import attention
from wordmill.probes.bias import bias_probe
from wordmill.probes.memorization import MemorizationProbe, beginnings
from wordmill.probes.personal import masked_places
from wordmill.probes.surprise import surprises
from wordmill.report.record import Attention, Bias, Example, Memorization, Surprise
from wordmill.tokens.prompts import request
from wordmill.tokens.store import TokenFolder
from wordmill.tokens.tokenizer import end_id, fingerprint, is_backward

# The reader's page shows a few of each.
_NUM_SURPRISES = 3
_MAX_SURPRISE_CHARS = 600
_NUM_ATTENTIONS = 3
_MAX_PLACE_CHARS = 400

log = logging.getLogger("stages")


class Probed(TypedDict):
    """Parts of the record."""

    surprises: list[Surprise]
    attentions: list[Attention]
    bias: list[Bias]
    memorization: list[Memorization]


def probed(
    stage: Stage,
    sets: Sets,
    models: dict[str, Model],
    texts: dict[str, Sequence[str]],
    examples: list[Example],
    *,
    params: EvaluateParams,
    tokenizer: PreTrainedTokenizerFast,
) -> Probed:
    """Probe the pretrained and the finetuned model.

    Args:
        stage: the stage that runs.
        sets: what is held out.
        models: by the name of their system; the two, or the finetuned alone.
        texts: whatever each of them answered.
        examples: those that the reader is shown.
        params: the `evaluate` section.
        tokenizer: of both models.
    """
    first = next(name for name in (TRAINED, FINAL) if name in models)
    memorization = _memorizations(stage, models, texts, params, tokenizer)
    if is_backward(tokenizer):
        log.info("surprise, attention and bias are read forwards: not shown of a backward model")
        return {"surprises": [], "attentions": [], "bias": [], "memorization": memorization}
    return {
        "surprises": surprises(
            models[first],
            tokenizer,
            sets.documents,
            system=first,
            count=_NUM_SURPRISES,
            max_chars=_MAX_SURPRISE_CHARS,
            context_tokens=stage.value("model", "context_tokens"),
            batch_size=params.batch_size,
        ),
        "attentions": _attentions(stage, models[FINAL], tokenizer, examples),
        "bias": _biases(stage, sets, models, params, tokenizer),
        "memorization": memorization,
    }


def _attentions(
    stage: Stage, model: Model, tokenizer: PreTrainedTokenizerFast, examples: list[Example]
) -> list[Attention]:
    """Of the first examples of each task."""
    found: list[Attention] = []
    for task in dict.fromkeys(example["task"] for example in examples):
        of_task = [example for example in examples if example["task"] == task]
        shown = sorted(of_task, key=lambda example: example["why"] == "worst")[:_NUM_ATTENTIONS]
        for example in shown:
            made = attention(
                model,
                tokenizer,
                request(task, example["source"], example["ask"]),
                example["predictions"][FINAL],
                id=example["id"],
                system=FINAL,
                max_source_tokens=stage.value("tokenize", "max_source_tokens"),
                max_answer_tokens=stage.value("tokenize", "max_target_tokens"),
            )
            found += [made] if made else []
    return found


def _biases(
    stage: Stage,
    sets: Sets,
    models: dict[str, Model],
    params: EvaluateParams,
    tokenizer: PreTrainedTokenizerFast,
) -> list[Bias]:
    if not params.probes.is_bias_probed:
        return []
    return [
        bias
        for name in (TRAINED, FINAL)
        if name in models
        for bias in bias_probe(
            models[name],
            tokenizer,
            system=name,
            languages={document.language for document in sets.documents},
            batch_size=params.batch_size,
            samples=params.bootstrap_samples,
            seed=stage.seed,
        )
    ]


def _memorizations(
    stage: Stage,
    models: dict[str, Model],
    texts: dict[str, Sequence[str]],
    params: EvaluateParams,
    tokenizer: PreTrainedTokenizerFast,
) -> list[Memorization]:
    asked = params.probes.memorization
    if asked.num_documents == 0:
        return []
    tokens = TokenFolder(stage.input("tokenize"), tokenizer_fingerprint=fingerprint(tokenizer))
    kinds = stage.value("clean", "mask")
    cleaned = (d.text for d in read_records(stage.input("clean"), Document, "train"))
    rows = beginnings(
        tokens.ids("documents.train"), asked, end_id=end_id(tokenizer), seed=stage.seed
    )
    if not rows:
        log.warning(
            "no training document has %d tokens: memorization is not measured; lower"
            " prefix_tokens or continuation_tokens of evaluate.probes.memorization",
            asked.prefix_tokens + asked.continuation_tokens,
        )
    # What a backward model would go on from stands behind a place.
    num_places = 0 if is_backward(tokenizer) else asked.num_documents
    probe = MemorizationProbe(
        tokenizer=tokenizer,
        params=asked,
        rows=rows,
        places=masked_places(
            cleaned,
            kinds,
            count=num_places,
            max_chars=_MAX_PLACE_CHARS,
            seed=stage.seed,
        ),
        raw_texts=lambda: _texts_before_cleaning(stage),
        kinds=kinds,
        batch_size=params.batch_size,
        samples=params.bootstrap_samples,
        seed=stage.seed,
    )
    return [
        probe.of(models[name], system=name, answers=texts[name])
        for name in (TRAINED, FINAL)
        if name in models
    ]


def _texts_before_cleaning(stage: Stage) -> Iterator[str]:
    folder = stage.input("ingest")
    for document in read_records(folder, Document, "train"):
        yield document.text
    for pair in read_records(folder, Pair, "train"):
        yield from (pair.source, pair.ask, pair.target)

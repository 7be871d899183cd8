"""Score the models beside traditional baselines on held-out documents and pairs."""

from collections.abc import Sequence
from typing import Any, TypeVar

from transformers import PreTrainedTokenizerFast

from stages.evaluation_files import ByTask, write_evaluation
from stages.held_out import Sets, Systems, held_out, systems, training_texts
from stages.probing import probed
from stages.stage import Stage, run
from stages.tracking import stage_run
from wordmill.data.records import Pair, read_records
from wordmill.evaluation.answering import Answering, labels_of
from wordmill.evaluation.comparison import FINAL, Comparison, TaskPart, set_hash
from wordmill.generation.engine import Labels
from wordmill.metrics.novelty import novelty_statistics
from wordmill.metrics.pairs import PRIMARY
from wordmill.models.folder import load_tokenizer
from wordmill.models.retrieval import Retrieval
from wordmill.params.evaluate import EvaluateParams
from wordmill.report.record import Record
from wordmill.tasks import Task
from wordmill.tokens.tokenizer import encode_batch, fingerprint

_RECORD_VERSION = 2

T = TypeVar("T")


def main(stage: Stage) -> str:
    """Write data/evaluate: the report, the scores, what they stand on, and predictions."""
    params = stage.section("evaluate", EvaluateParams)
    tokenizer = load_tokenizer(stage.input("finetune") / "model")
    sets, compared = held_out(stage, params, tokenizer), systems(stage, params, tokenizer)
    common: dict[str, Any] = {"tokenizer": tokenizer, "params": params, **stage.progress}
    context_tokens = stage.value("model", "context_tokens")
    comparison = Comparison(**common, context_tokens=context_tokens, seed=stage.seed)
    with stage_run(stage, params.model_dump()) as tracked:
        documents = comparison.documents(sets.documents, sets.ids, compared.documents)
        labels = labels_of(read_records(stage.input("clean"), Pair, "train"))
        answers = _answers(stage, sets, compared, labels, common)
        tasks = _scored(stage, comparison, sets, answers, labels, tokenizer)
        examples = [example for part in tasks.values() for example in part.examples]
        record: Record = {
            "version": _RECORD_VERSION,
            "identity": {
                "documents": set_hash(document.id for document in sets.documents),
                **{task: set_hash(one.id for one in asked) for task, asked in sets.tasks.items()},
                "tokenizer": fingerprint(tokenizer),
                "decoding": params.decoding.model_dump(),
                "context_tokens": context_tokens,
                "stride_tokens": params.stride_tokens,
                "ngram_order": params.ngram_order,
            },
            "primary": {kind: PRIMARY[kind] for kind in ("documents", *tasks)},
            "num_documents": len(sets.documents),
            "num_pairs": {task: len(asked) for task, asked in sets.tasks.items()},
            "documents": documents.scores,
            "pairs": {task: part.scores for task, part in tasks.items()},
            "slices": _of_all(documents.slices, [part.slices for part in tasks.values()]),
            "differences": _of_all(
                documents.differences, [part.differences for part in tasks.values()]
            ),
            "examples": examples,
            **probed(
                stage,
                sets,
                compared.documents,
                {name: _said_by(name, answers) for name in compared.writers},
                examples,
                params=params,
                tokenizer=tokenizer,
            ),
        }
        write_evaluation(stage, record, sets, answers, labels, tracked)
    return _summary(record)


def _answers(
    stage: Stage, sets: Sets, compared: Systems, labels: Labels, common: dict[str, Any]
) -> ByTask:
    retrieval = Retrieval(read_records(stage.input("clean"), Pair, "train"))
    found: ByTask = {}
    for task, exercises in sets.tasks.items():
        answering = Answering(
            exercises,
            labels=labels,
            max_source_tokens=stage.value("tokenize", "max_source_tokens"),
            **common,
        )
        found[task] = {}
        models = compared.writers if task == "write" else compared.answerers
        if task != "write":
            found[task] = {"lead": answering.lead(), "retrieval": answering.retrieved(retrieval)}
        found[task] |= {name: answering.of_model(name, model) for name, model in models.items()}
    return found


def _scored(
    stage: Stage,
    comparison: Comparison,
    sets: Sets,
    answers: ByTask,
    labels: Labels,
    tokenizer: PreTrainedTokenizerFast,
) -> dict[Task, TaskPart]:
    said: dict[tuple[str, str], Sequence[str]] = {
        (task, name): found.texts
        for task, systems_ in answers.items()
        for name, found in systems_.items()
    }
    novelty = novelty_statistics(said, training_texts(stage))  # one pass over the text for all
    found: dict[Task, TaskPart] = {}
    for task, exercises in sets.tasks.items():
        ids = encode_batch(tokenizer, [one.source for one in exercises])
        found[task] = comparison.task(
            exercises,
            [len(row) for row in ids],
            {name: answer.texts for name, answer in answers[task].items()},
            {name: novelty[task, name] for name in answers[task]},
            labels=sorted({label for of_ask in labels.values() for label in of_ask}),
        )
    return found


def _said_by(system: str, answers: ByTask) -> list[str]:
    return [text for found in answers.values() for text in found[system].texts]


def _of_all(first: list[T], others: list[list[T]]) -> list[T]:
    return [*first, *(one for some in others for one in some)]


def _summary(record: Record) -> str:
    """How the finetuned model does on each task, on documents where there is no task."""
    parts = (
        f"{kind}: {record['primary'][kind]} {scores[FINAL][record['primary'][kind]]['value']:.2f}"
        for kind, scores in (record["pairs"] or {"documents": record["documents"]}).items()
    )
    return f"finetuned, {'; '.join(parts)}"


if __name__ == "__main__":
    run("evaluate", main, description=__doc__)

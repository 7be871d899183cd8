"""The model card of a version: README.md with the metadata that Hugging Face's hub reads.

Its beginning, up to the evaluation's verdict, stands in the registry beside the version. What comes
from data and models stands in code spans, where nothing of it is markup.
"""

from collections.abc import Mapping
from io import StringIO
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from ruamel.yaml import YAML

from wordmill.report.markdown import card, code_span, table
from wordmill.report.measures import OURS, is_scored, measure
from wordmill.report.record import Record
from wordmill.report.run_story import duration
from wordmill.report.surroundings import Surroundings

_IN_SHORT_PARTS = 4
_MIN_LANGUAGE_SHARE = 0.01
_OF_TRANSFORMERS = ("decoder", "encoder-decoder", "pretrained")
_RECIPE = ("seed", "model", "pretrain", "finetune")
_HUB_TASKS = {
    "documents": "text-generation",
    "write": "text-generation",
    "summarize": "summarization",
    "translate": "translation",
    "answer": "question-answering",
    "dialogue": "text-generation",
    "classify": "text-classification",
}
_HUB_METRICS = {"rouge1": "rouge", "rouge2": "rouge", "rougeL": "rouge", "rougeLsum": "rouge"}
_TRAINED_ON = ("documents", "pairs")


def model_card(record: Record, around: Surroundings, *, name: str, made: Mapping[str, str]) -> str:
    """The card as one file.

    Args:
        record: the evaluation, scores.json.
        around: what stands beside it, surroundings.json.
        name: of the registered model.
        made: what it was made of, such as `git.commit` and DVC's hashes.
    """
    parts = [
        f"---\n{_metadata(record, around, name)}\n---",
        f"# {name}",
        _what_it_is(around, made),
        card(record),
        *_data(around, made),
        *_recipe(around),
        *_limits(record, around),
        *_use(around, name),
    ]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def in_short(text: str) -> str:
    """What a card says first: what the model is, and how it compares."""
    body = text.split("\n---\n", 1)[1].strip()
    return "\n\n".join(body.split("\n\n")[:_IN_SHORT_PARTS])


def _metadata(record: Record, around: Surroundings, name: str) -> str:
    params = around["params"]
    kind = params["model"]["kind"]
    found: Any = ModelCardData(
        language=_languages(around) or None,
        library_name="transformers" if kind in _OF_TRANSFORMERS else "wordmill",
        base_model=params["tokenize"]["checkpoint"] if kind == "pretrained" else None,
        pipeline_tag=_HUB_TASKS[next(iter(record["pairs"]), "write")],
        tags=["wordmill", kind],
        model_name=name,
        eval_results=_results(record) or None,
    )
    return found.to_yaml()


def _languages(around: Surroundings) -> list[str]:
    kept = {name: how["kept"] for name, how in around["clean"].get("languages", {}).items()}
    least = _MIN_LANGUAGE_SHARE * sum(kept.values())
    # Hugging Face takes codes of ISO 639; what else cleaning counts is no language.
    return [n for n in kept if kept[n] > least and n.isalpha() and len(n) in (2, 3)]


def _results(record: Record) -> list[EvalResult]:
    """The primary score of each kind."""
    found: list[EvalResult] = []
    for kind, scores in {"documents": record["documents"], **record["pairs"]}.items():
        metric = record["primary"].get(kind, "")
        if is_scored(scores.get(OURS, {}), metric):
            found.append(
                EvalResult(
                    task_type=_HUB_TASKS.get(kind, "text-generation"),
                    dataset_type=str(record["identity"].get(kind, "held-out")),
                    dataset_name=f"held-out {kind}",
                    metric_type=_HUB_METRICS.get(metric, metric),
                    metric_value=round(scores[OURS][metric]["value"], 4),
                    metric_name=measure(metric).name,
                )
            )
    return found


def _what_it_is(around: Surroundings, made: Mapping[str, str]) -> str:
    params = around["params"]
    model = params["model"]
    dirty = " with changes" if made.get("git.dirty") == "true" else ""
    base = params["tokenize"]["checkpoint"]
    start = f", from {code_span(base)}" if model["kind"] == "pretrained" and base else ""
    return (
        f"A text-generation model ({model['kind']}{start}, {model['context_tokens']} tokens of"
        f" context) that wordmill trained and evaluated on {around['made_at'][:10]}, at commit"
        f" {code_span(made.get('git.commit', 'none'))}{dirty}."
    )


def _data(around: Surroundings, made: Mapping[str, str]) -> list[str]:
    sources = around["clean"].get("sources", {})
    rows = [["source", "read", "kept"]]
    rows += [[_cell(n), f"{s['read']:,}", f"{s['kept']:,}"] for n, s in sources.items()]
    counts = [
        f"{tokens:,} tokens of {kind}"
        for kind in _TRAINED_ON
        if (tokens := around["tokens"].get(kind, {}).get("train", {}).get("tokens"))
    ]
    trained = f"Trained on {' and '.join(counts)}." if counts else ""
    masked = around["clean"].get("masked", {})
    told = ", ".join(f"{count:,} {kind}" for kind, count in masked.items())
    personal = f"Masked before training: {told}." if told else ""
    hashes = [
        f"- {s}: {code_span(made[f'dvc.{s}'])}" for s in ("ingest", "clean") if f"dvc.{s}" in made
    ]
    proof = "DVC's hashes of the data:\n\n" + "\n".join(hashes) if hashes else ""
    return ["## Data", table(rows) if sources else "", trained, personal, proof]


def _cell(text: str) -> str:
    return code_span(text).replace("|", "\\|")


def _recipe(around: Surroundings) -> list[str]:
    recipe = {name: around["params"][name] for name in _RECIPE if name in around["params"]}
    # Only what took part: the other kinds' sizes would tell of models that this one is not.
    kind = recipe["model"]["kind"]
    own = ("kind", "context_tokens", kind.replace("-", "_"))
    recipe["model"] = {name: value for name, value in recipe["model"].items() if name in own}
    lines = StringIO()
    YAML().dump(recipe, lines)
    costs = [
        f"- {cost['stage']}: {duration(cost['seconds'])}, {cost['tokens']:,} tokens,"
        f" {code_span(cost['device'])}"
        for cost in around["training"]
        if cost["stage"] != "baselines"
    ]
    return ["## Recipe", "```yaml\n" + lines.getvalue() + "```", "\n".join(costs)]


def _limits(record: Record, around: Surroundings) -> list[str]:
    params = around["params"]
    languages = ", ".join(_languages(around))
    tasks = ", ".join(record["pairs"]) or "no task"
    lines = [
        f"It was scored on {tasks} and nothing else: what it does with other requests is unknown.",
        f"It was trained on text in {languages}." if languages else "",
        f"A source is cut at {params['tokenize']['max_source_tokens']:,} tokens; an answer ends"
        f" after {params['evaluate']['decoding']['max_new_tokens']:,}.",
        "What it says may be wrong, and sounds no different when it is. It knows nothing after its"
        " data.",
        "" if record["bias"] else "Bias was not measured.",
        "" if record["memorization"] else "Memorization of training text was not measured.",
        "The probes look for some biases and for training text that comes back word for word; to"
        " pass them does not mean that there is nothing else.",
    ]
    return ["## Limits", "\n".join(f"- {line}" for line in lines if line)]


def _use(around: Surroundings, name: str) -> list[str]:
    kind = around["params"]["model"]["kind"]
    parts = [
        "## How to load it",
        "As it was scored, with the prompts of its tasks:",
        f'```sh\nwordmill generate "TEXT" --model VERSION\n'
        f"mlflow models serve -m models:/{name}/VERSION --env-manager local\n```",
    ]
    if kind in _OF_TRANSFORMERS:
        auto = "AutoModelForSeq2SeqLM" if kind == "encoder-decoder" else "AutoModelForCausalLM"
        note = "  # or AutoModelForSeq2SeqLM, as it is" if kind == "pretrained" else ""
        parts += [
            "In plain transformers, where the prompts are yours to write:",
            f"```python\nfrom transformers import {auto}, AutoTokenizer{note}\n\n"
            'folder = "artifacts/model"  # beside this file\n'
            "tokenizer = AutoTokenizer.from_pretrained(folder)\n"
            f"model = {auto}.from_pretrained(folder)\n```",
        ]
    return parts

"""A version's record as a tree for the terminal."""

from typing import Any

from flows.lineage_record import Lineage
from wordmill.report.measures import is_scored

Branch = tuple[str, list["Branch"]]
"""A line, and what stands below it."""

_MOST_SOURCES = 12
_MOST_PATHS = 6
# What decides results; all the others are in the record.
_TOLD_PACKAGES = ("torch", "lightning", "transformers", "tokenizers", "mlflow", "dvc", "prefect")


def tree(record: Lineage, *, version: str, aliases: list[str]) -> str:
    """Everything a person asks of a version first.

    Args:
        record: of the version.
        version: its number.
        aliases: it has now.
    """
    known_as = f" ({', '.join(aliases)})" if aliases else ""
    head = f"version {version} of {record['model']}{known_as}"
    branches = [
        _code(record),
        _data(record),
        _stages(record),
        _model(record),
        _scores(record),
        _surroundings(record),
        _cost(record),
    ]
    return "\n".join([f"{head}, registered {_day(record['made_at'])}", *_drawn(branches)])


def tree_of_tags(name: str, tags: dict[str, str]) -> str:
    """What is known of a version without a record: its tags."""
    branches: list[Branch] = [(f"{tag:18} {value}", []) for tag, value in sorted(tags.items())]
    return "\n".join([f"{name}: no lineage.json, an older wordmill made it", *_drawn(branches)])


def _drawn(branches: list[Branch], before: str = "") -> list[str]:
    lines: list[str] = []
    for number, (text, below) in enumerate(branches):
        is_last = number == len(branches) - 1
        lines.append(f"{before}{'└─' if is_last else '├─'} {text}")
        lines += _drawn(below, f"{before}{'   ' if is_last else '│  '}")
    return lines


def _code(record: Lineage) -> Branch:
    code = record["git"]
    below = [f"untracked {path} ({known[:12]})" for path, known in code["untracked"].items()]
    if patch := code["patch"]:
        kept = f"not kept: {patch['why_not']}" if patch["why_not"] else "kept"
        below.insert(0, f"patch {patch['sha256'][:12]}, {patch['num_bytes']:,} bytes, {kept}")
        below += [f"{path} differs and is ignored by git: not in it" for path in patch["left_out"]]
    below += [f"{path} was changed before it was registered" for path in record["changed_since"]]
    state = "the tree was changed" if code["is_dirty"] else "as committed"
    branch = f" on {code['branch']}" if code["branch"] else ""
    return f"git commit {code['commit']}{branch}, {state}", _leaves(below)


def _data(record: Lineage) -> Branch:
    told: list[str] = []
    for one in record["sources"][:_MOST_SOURCES]:
        size = f", {one['size']:,} bytes" if one["size"] is not None else ""
        read = f", read {_day(one['read'])}" if one["read"] else ""
        modified = f", of {_day(one['modified'])}" if one["modified"] else ""
        told.append(f"{one['address']}  {one['hash']}{size}{modified}{read}")
    if (more := len(record["sources"]) - _MOST_SOURCES) > 0:
        told.append(f"and {more:,} more")
    told += [f"{name} was {state}" for name, state in record["outside"].items()]
    return "data", _leaves(told)


def _stages(record: Lineage) -> Branch:
    below: list[Branch] = []
    for stage, made in record["stages"].items():
        run = record["runs"].get(stage)
        by = f"  MLflow run {run['id']}{', of an earlier flow' * run['is_reused']}" if run else ""
        outs = ", ".join(made["outs"].values())
        code = sum(path.split("/")[0] in ("stages", "wordmill") for path in made["deps"])
        data = [path for path in made["deps"] if path.startswith("data/")]
        shown = ", ".join(data[:_MOST_PATHS]) + ", ..." * (len(data) > _MOST_PATHS)
        below.append((f"{stage:10} {outs}{by}", _leaves([f"from {shown}; {code} files of code"])))
    return "stages, by DVC's hash of what they made", below


def _model(record: Lineage) -> Branch:
    seeds = ", ".join(f"{key}={value}" for key, value in record["seeds"].items())
    flow = [f"Prefect flow run  {record['flow_run']}"] if record["flow_run"] else []
    lines = [
        f"weights    {record['weights']}",
        f"tokenizer  {record['tokenizer']}",
        f"files      {len(record['files'])}, each with its SHA-256 in the record",
        f"seeds      {seeds}",
        f"MLflow run        {record['mlflow_run']}",
        *flow,
    ]
    return "model", _leaves(lines)


def _scores(record: Lineage) -> Branch:
    scores: dict[str, Any] = record["scores"]
    kinds = {"documents": scores.get("documents", {}), **scores.get("pairs", {})}
    lines: list[str] = []
    for kind, metric in scores.get("primary", {}).items():
        systems = kinds.get(kind, {})
        for system in ("pretrained", "finetuned"):
            found = systems.get(system, {})
            if is_scored(found, metric):
                on = scores["identity"].get(kind, "unknown")
                lines.append(f"{kind}: {system} {metric} {_score(found[metric])}, set {on}")
    return "scores", _leaves(lines)


def _score(one: dict[str, Any]) -> str:
    ends = [one["low"], one["high"]]
    between = "" if None in ends else f" ({ends[0]:.4g} to {ends[1]:.4g})"
    return f"{one['value']:.4g}{between}, {one['count']} examples, {one['signature']}"


def _surroundings(record: Lineage) -> Branch:
    machine, packages = record["machine"], record["software"]["packages"]
    told = [f"{name} {packages[name]}" for name in _TOLD_PACKAGES if name in packages]
    gpus = f"; {', '.join(machine['gpus'])}, driver {machine['driver']}" if machine["gpus"] else ""
    lines = [
        f"{record['software']['python']}, {', '.join(told)}, {len(packages)} packages",
        f"{machine['system']}, {machine['cpu']}, {machine['instructions']},"
        f" {machine['threads']} of {machine['cores']} threads{gpus}",
    ]
    return "surroundings", _leaves(lines)


def _cost(record: Lineage) -> Branch:
    lines = [
        f"{one['stage']}: {one['seconds']:,.0f} s, {one['tokens']:,} tokens on {one['device']}"
        + (f", {one['joules']:,.0f} J" if one.get("joules") is not None else "")
        for one in record["cost"]["training"]
    ]
    return "cost", _leaves(lines)


def _leaves(lines: list[str]) -> list[Branch]:
    return [(line, []) for line in lines]


def _day(told: str) -> str:
    """An ISO time as people read it."""
    return told.replace("T", " ").replace("+00:00", " UTC")

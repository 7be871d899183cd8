"""Changes in words."""

from collections.abc import Iterable
from typing import Any

Manifest = dict[str, str]

NEVER_RUN = "it has not run here before"
_MOST_NAMED = 3


def changed_params(
    locked: dict[str, Any], values: dict[str, Any], keys: Iterable[str]
) -> list[str]:
    """Each changed value with what it was; DVC names the section alone."""
    lines: list[str] = []
    for key in keys:
        now: Any = values
        for part in key.split("."):
            now = now.get(part) if isinstance(now, dict) else None
        before_by_key, now_by_key = _leaves(key, locked.get(key)), _leaves(key, now)
        found = [
            f"{leaf} went from {before_by_key.get(leaf)} to {now_by_key.get(leaf)}"
            for leaf in sorted({*before_by_key, *now_by_key})
            if before_by_key.get(leaf) != now_by_key.get(leaf)
        ]
        lines += found or [f"{key} is another"]  # such as null where there was nothing
    return lines


def changed_folder(path: str, before: Manifest | None, now: Manifest | None) -> str:
    """What has changed in a folder, file by file where that is known."""
    kind = "code" if path.startswith(("stages", "wordmill")) else "data"
    if before is None or now is None:
        return f"{kind} in {path} has changed"
    return f"{kind} in {path}: {_difference(before, now)}"


def changed_output(path: str, before: Manifest | None, now: Manifest | None) -> str:
    """What became of an output that the stage made otherwise."""
    if before is None or now is None:
        return f"output {path} is modified"
    return f"output {path} is modified: {_difference(before, now)}"


def _difference(before: Manifest, now: Manifest) -> str:
    new = sorted(now.keys() - before.keys())
    gone = sorted(before.keys() - now.keys())
    changed = sorted(name for name in before.keys() & now.keys() if before[name] != now[name])
    counts = [
        f"{len(names)} {what}"
        for names, what in ((new, "new"), (changed, "changed"), (gone, "gone"))
        if names
    ]
    first, _, what = counts[0].partition(" ")
    counts[0] = f"{first} file{'s' if first != '1' else ''} {what}"
    names = [*new, *changed, *gone]
    more = ", ..." if len(names) > _MOST_NAMED else ""
    return f"{', '.join(counts)}: {', '.join(names[:_MOST_NAMED])}{more}"


def _leaves(key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {key: value}
    found: dict[str, Any] = {}
    for name, inner in value.items():
        found |= _leaves(f"{key}.{name}", inner)
    return found

"""`wordmill lineage`: from any id of a version to all that is known of it."""

import json
from pathlib import Path

from mlflow.entities.model_registry import ModelVersion

from flows.lineage_find import Found, Versions
from flows.lineage_tree import tree, tree_of_tags
from flows.lineage_verify import verified
from flows.registry import opened
from flows.tracking import answering
from wordmill.errors import DataError, ParamsError


def show_lineage(asked: str, *, model: str, is_json: bool, is_verified: bool) -> int:
    """Print what is known of a version, and whether it still holds; returns the exit status.

    Args:
        asked: anything that it is known by.
        model: the registered model's name.
        is_json: for programs.
        is_verified: every hash is taken again.

    Raises:
        ParamsError: nothing is known by it, or nothing was ever registered.
        TryAgainError: MLflow does not answer.
    """
    with answering(asked):
        versions = Versions(opened(model))
        found = versions.find(asked)
        if is_verified:
            return _verify(versions, found, is_json=is_json)
        print(_as_json(versions, found) if is_json else _as_text(versions, found))
    return 0


def _verify(versions: Versions, found: Found, *, is_json: bool) -> int:
    version = found.versions[0]
    name = f"version {version.version} of {version.name}"
    try:
        record, is_sound = versions.record(version), True
    except DataError:  # its copies are told below
        record, is_sound = None, False
    if record is None and is_sound:
        raise ParamsError(f"{name} has no lineage.json: there is nothing to hold it against")
    if not is_json:
        print(f"{name}, {_how(found)}", flush=True)
    checks = []
    for check in verified(versions.client, version, record, cache=dvc_objects()):
        checks.append(check)
        if not is_json:
            print(f"  {check}", flush=True)
    changed = [check for check in checks if check.verdict == "CHANGED"]
    if is_json:
        print(json.dumps([vars(check) for check in checks], indent=2, ensure_ascii=False))
    else:
        lost = sum(check.verdict == "cannot be had" for check in checks)
        print(f"{len(checks)} checks: {len(changed)} no longer match, {lost} cannot be had")
    return DataError.exit_status if changed else 0


def dvc_objects() -> Path:
    """The folder of DVC's cache that holds objects by their MD5."""
    from dvc.repo import Repo

    with Repo() as repo:
        return Path(repo.cache.local.path)


def _as_text(versions: Versions, found: Found) -> str:
    version = found.versions[0]
    record, aliases = versions.record(version), _aliases(versions, version)
    others = ", ".join(str(one.version) for one in found.versions[1:])
    lines = [f"{found.asked} is {_how(found)}"]
    lines += [f"versions {others} have it too; the newest:"] if others else []
    if record:
        lines.append(tree(record, version=str(version.version), aliases=aliases))
    else:
        lines.append(tree_of_tags(f"version {version.version}", dict(version.tags)))
    return "\n".join(lines)


def _as_json(versions: Versions, found: Found) -> str:
    version = found.versions[0]
    told = {
        "asked": found.asked,
        "kind": found.kind,
        "versions": [str(one.version) for one in found.versions],
        "aliases": _aliases(versions, version),
        "tags": dict(version.tags),
        "lineage": versions.record(version),
    }
    return json.dumps(told, indent=2, ensure_ascii=False)


def _aliases(versions: Versions, version: ModelVersion) -> list[str]:
    return list(versions.client.get_model_version(version.name, str(version.version)).aliases)


def _how(found: Found) -> str:
    if ", " in found.kind or found.kind.startswith("what "):
        return found.kind
    return f"{'an' if found.kind[0] in 'aeiouM' else 'a'} {found.kind}"

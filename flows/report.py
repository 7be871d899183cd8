"""`wordmill report`: the page of the last evaluation again, with the votes there are by now."""

import json
import webbrowser
from pathlib import Path
from typing import Any

from flows.workspace import GATE, STATE
from wordmill.errors import DataError, ParamsError
from wordmill.files import replaced_file, sha256_of
from wordmill.gate.verdict import Verdict
from wordmill.judging.votes import FOLDER, votes
from wordmill.report.page import page
from wordmill.report.record import Record
from wordmill.report.surroundings import Surroundings

EVALUATION = Path("data/evaluate")
OUT = STATE / "report.html"


def report(*, out: Path = OUT, is_opened: bool = False) -> str:
    """Write the page and say where it is.

    Args:
        out: the file.
        is_opened: whether a browser shows it.

    Raises:
        DataError: nothing was evaluated yet.
        ParamsError: the file would change an output of DVC.
    """
    if EVALUATION.resolve() in out.resolve().parents:
        raise ParamsError(f"{out}: {EVALUATION} belongs to DVC; choose another place")
    record, verdict = with_champion()
    surroundings: Surroundings = _read(EVALUATION / "surroundings.json")
    found = votes(Path(FOLDER), predictions=EVALUATION / "predictions.jsonl")
    surroundings["votes"] = found
    with replaced_file(out) as partial:
        partial.write_text(page(record, surroundings, gate=verdict), encoding="utf-8")
    if is_opened:
        webbrowser.open(out.resolve().as_uri())
    told = (
        f", with {len(found)} comparison{'' if len(found) == 1 else 's'} by people" if found else ""
    )
    return f"{out}{told}"


def with_champion() -> tuple[Record, Verdict | None]:
    """The scores of the last evaluation, with the champion's where the gate scored it beside.

    Raises:
        DataError: nothing was evaluated yet.
    """
    record: Record = _read(EVALUATION / "scores.json")
    if not (GATE / "verdict.json").exists():
        return record, None
    verdict: Verdict = _read(GATE / "verdict.json")
    if verdict["evaluation"] != sha256_of(EVALUATION / "scores.json"):  # of another version
        return record, None
    return _read(GATE / "scores.json"), verdict


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{file}: no such file; `wordmill retrain` makes it") from None
    except json.JSONDecodeError:
        raise DataError(f"{file}: not JSON; `dvc repro -f evaluate` makes it again") from None

"""`wordmill compare`: results beside each other, in the terminal and as a page."""

from datetime import UTC, datetime
from pathlib import Path

from flows.located_result import located_results
from wordmill.comparing.page import page
from wordmill.comparing.side_by_side import side_by_side
from wordmill.comparing.words import terminal
from wordmill.errors import DataError, ParamsError
from wordmill.files import replaced_file

_EVALUATION = Path("data/evaluate")


def compare(names: list[str], *, out: Path | None) -> str:
    """Compare results with the first of them and say what was found.

    Args:
        names: of experiments, grids, revisions, runs, versions, folders, or `workspace`.
        out: a page to write; None writes none.

    Raises:
        ParamsError: a name exists nowhere, there is one result alone, or `out` would change an
            output of DVC.
        DataError: nothing of the results can be compared.
    """
    if out is not None and _EVALUATION.resolve() in out.resolve().parents:
        raise ParamsError(f"--out {out}: {_EVALUATION} belongs to DVC; choose another place")
    results = located_results(names)
    if len(results) < 2:
        raise ParamsError(
            f"{results[0].name}: is one result alone; name another to compare it with"
        )
    found = side_by_side(results)
    if not found.kinds:
        reasons = "; ".join(
            dict.fromkeys(f"{r.what}: {r.name}: {r.reason}" for r in found.refusals)
        )
        raise DataError(f"nothing can be compared: {reasons}")
    told = terminal(found)
    if out is None:
        return told
    with replaced_file(out) as partial:
        now = datetime.now(UTC)
        partial.write_text(page(found, made_at=f"{now:%Y-%m-%d %H:%M} UTC"), encoding="utf-8")
    return f"{told}\n\npage  {out}"

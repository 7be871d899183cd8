"""`wordmill explain`: the plan of a run, without running anything."""

import json

from flows.plan import Step, part_of, plan, told


def explain(stage: str | None, *, is_json: bool) -> str:
    """What would run and why, and what is reused.

    Args:
        stage: this one and what would run before it; None tells of all.
        is_json: as a list of objects, for programs.

    Raises:
        ParamsError: there is no such stage, or dvc.yaml or params.yaml is wrong.
    """
    steps = plan()
    shown = steps if stage is None else part_of(steps, stage)
    if is_json:
        return json.dumps([_as_json(step) for step in shown], indent=2)
    return f"{_headline(shown, stage)}\n{told(shown)}"


def _headline(steps: list[Step], stage: str | None) -> str:
    certain = [step.stage for step in steps if step.reasons]
    if not certain and stage is not None:
        return f"Nothing new for {stage}: no source, param or code that it depends on has changed."
    if not certain:
        return "Nothing new: no source, param or code has changed."
    later = sum(step.may_run for step in steps) - len(certain)
    return f"Would run: {', '.join(certain)}" + (f"; and {later} after that." if later else ".")


def _as_json(step: Step) -> dict[str, object]:
    verdict = "run" if step.reasons else "after" if step.after else "reuse"
    return {
        "stage": step.stage,
        "verdict": verdict,
        "why": step.reasons,
        "after": step.after,
        "made_by": step.made_by,
    }

"""What a run would do: which stages run and why, which are reused and who made them.

Looks in hundredths of a second (flows/changes.py), asks DVC only where that is in doubt, and
runs nothing.
"""

from pathlib import Path
from typing import Any, NamedTuple

from flows.changes import Look
from flows.doubt import DoubtError
from flows.dvc_stages import PARAMS
from flows.makers import makers_of
from flows.outside import moved_on
from wordmill.errors import ParamsError

_FORCED = "asked to, with --force"
_READS_OUTSIDE = "ingest"
_MOST_REASONS = 4


class Step(NamedTuple):
    """What becomes of a stage."""

    stage: str
    why: list[str]
    """What DVC would run it for."""
    beyond: list[str]
    """Reasons that DVC does not know: the stage is forced."""
    after: list[str]
    """Stages that it reads from and that run: only then DVC can tell."""
    made_by: str | None
    """The MLflow run that made what is there now, where one is known."""

    @property
    def reasons(self) -> list[str]:
        """All that speaks for running it now."""
        return [*self.beyond, *self.why]

    @property
    def may_run(self) -> bool:
        """Whether it runs, or may after others did."""
        return bool(self.reasons or self.after)


def plan(*, is_forced: bool = False) -> list[Step]:
    """The steps of a run that starts now, in order.

    Raises:
        ParamsError: dvc.yaml, dvc.lock or params.yaml is wrong.
        TryAgainError: DVC had to be asked and is at work.
    """
    needs, why, hashes, params = _looked()
    beyond: dict[str, list[str]] = {stage: [_FORCED] if is_forced else [] for stage in needs}
    if _READS_OUTSIDE in beyond:
        beyond[_READS_OUTSIDE] += moved_on(params.get(_READS_OUTSIDE, {}))
    makers = makers_of(hashes)
    steps: dict[str, Step] = {}
    for stage, upstream in needs.items():
        after = [name for name in upstream if steps[name].may_run]
        steps[stage] = Step(stage, why[stage], beyond[stage], after, makers.get(stage))
    return list(steps.values())


def part_of(steps: list[Step], stage: str) -> list[Step]:
    """One stage, and those before it that run and may make it run.

    Raises:
        ParamsError: there is no such stage.
    """
    by_name = {step.stage: step for step in steps}
    if stage not in by_name:
        raise ParamsError(f"{stage}: no such stage; dvc.yaml has {', '.join(by_name)}")
    wanted = {stage}
    for step in reversed(steps):
        if step.stage in wanted:
            wanted |= set(step.after)
    return [step for step in steps if step.stage in wanted]


def told(steps: list[Step]) -> str:
    """The plan for a terminal."""
    width = max(len(step.stage) for step in steps)
    return "\n".join(f"  {step.stage:{width}}  {_line(step)}" for step in steps)


def _line(step: Step) -> str:
    if step.reasons:
        more = len(step.reasons) - _MOST_REASONS
        shown = [*step.reasons[:_MOST_REASONS], *([f"and {more} more"] if more > 0 else [])]
        return f"runs because {'; '.join(shown)}"
    if step.after:
        return f"runs after {', '.join(step.after)}, if what it reads changes"
    return "reused: nothing changed" + (f"; made by run {step.made_by}" if step.made_by else "")


class _Found(NamedTuple):
    needs: dict[str, list[str]]
    why: dict[str, list[str]]
    hashes: dict[str, str]
    params: dict[str, Any]


def _looked() -> _Found:
    try:
        look = Look()
        needs = look.needs
    except DoubtError:
        return _asked()
    why: dict[str, list[str]] = {}
    doubtful: list[str] = []
    for stage in needs:
        try:
            why[stage] = look.reasons(stage)
        except DoubtError:
            doubtful.append(stage)
    if doubtful:
        from flows import dag

        why |= dag.reasons_of_dvc(doubtful)
    else:
        look.save()
    hashes = {stage: look.output_hash(stage) for stage in needs}
    return _Found(needs, why, {stage: h for stage, h in hashes.items() if h}, look.params)


def _asked() -> _Found:
    from flows import dag
    from wordmill.params.section import read_params

    needs = dag.needs()
    why = dag.reasons_of_dvc(list(needs))
    hashes = {stage: dag.output_hash(stage) for stage in needs}
    params = read_params(Path(PARAMS))
    return _Found(needs, why, {stage: h for stage, h in hashes.items() if h}, params)

"""What a run says when it ends: what ran and why, the scores, where things are, what is next."""

from dataclasses import dataclass, field
from pathlib import Path

from flows.pipeline import Outcome
from flows.registry import CHAMPION, Standing
from flows.report import with_champion
from flows.workspace import GATE
from wordmill.gate.verdict import gate_lines
from wordmill.report.markdown import terminal

_EVALUATION = Path("data/evaluate")


@dataclass(kw_only=True)
class Summary:
    """One run of the retraining flow."""

    model: str
    """The registered model's name."""
    seconds: float = 0.0
    outcomes: list[Outcome] = field(default_factory=list[Outcome])
    standing: Standing | None = None
    pipeline_run: str | None = None
    """The MLflow run, None where nothing had to be done."""
    makers: dict[str, str | None] = field(default_factory=dict[str, "str | None"])
    """The MLflow run that made the output of each reused stage."""
    repaired: list[str] = field(default_factory=list[str])
    held_because: str = ""
    """Why the version was not promoted, where somebody has to do something about it."""
    is_promoted: bool = False
    """Whether this run made its version champion."""
    is_judged: bool = False
    """Whether the gate said something of the version in this run."""
    is_out_of_time: bool = False
    """Whether the budget stopped the gate."""
    kept: list[str] = field(default_factory=list[str])
    """What was committed and pushed."""
    not_kept: list[str] = field(default_factory=list[str])
    """What was to be committed or pushed and was not, with the reason."""
    is_pushed: bool = False

    @property
    def failed(self) -> Outcome | None:
        """The stage that failed, None if none did."""
        return next((o for o in self.outcomes if o.verdict == "failed"), None)

    @property
    def stopped(self) -> Outcome | None:
        """The stage that the budget stopped, None if it did not."""
        return next((o for o in self.outcomes if o.verdict == "stopped"), None)

    @property
    def headline(self) -> str:
        """The run in one line."""
        if self.failed:
            return f"{self.failed.stage} failed: {self.failed.message}"
        if self.stopped:
            return f"{self.stopped.stage}: {self.stopped.message}"
        if self.pipeline_run is None:
            return "nothing new: no source, param or code has changed"
        ran = [o.stage for o in self.outcomes if o.verdict == "ran"]
        return f"ran {', '.join(ran) if ran else 'no stage'}; {self._standing()}"

    def text(self) -> str:
        """The summary for a terminal."""
        parts = [f"\n{self.headline} ({self.seconds:.0f} s)"]
        if self.outcomes:
            parts.append("\n".join(map(self._stage_line, self.outcomes)))
        if kept := [*self.kept, *self.not_kept]:
            parts.append("\n".join(kept))
        if self.stopped:
            parts.append("Nothing was registered. `make run` goes on: what is done stays done.")
        elif self.failed is None:
            parts += [self._scores(), self._places(), self._next_steps()]
        else:
            parts.append(
                "Nothing was registered. Mend it and run `make run` again: what is done stays done."
            )
        return "\n\n".join(parts) + "\n"

    def _stage_line(self, outcome: Outcome) -> str:
        maker = self.makers.get(outcome.stage)
        made_by = f", made by run {maker}" if maker else ""
        took = f" ({outcome.seconds:.0f} s)" if outcome.seconds else ""
        why = f" because {_shortened(outcome.why)}" if outcome.why else ""
        if outcome.verdict == "failed":
            return f"  {outcome.stage:9} failed{took}: {outcome.message}\n  {'':9} it ran{why}"
        return f"  {outcome.stage:9} {outcome.verdict}{why}{took}: {outcome.message}{made_by}"

    def _scores(self) -> str:
        record, verdict = with_champion()
        parts = [terminal(record)] if verdict is None else [terminal(record), gate_lines(verdict)]
        told = "\n\n".join(parts)
        return f"{told}\n\n** marks the best of a column, baselines included."

    def _places(self) -> str:
        _, verdict = with_champion()
        lines = [
            f"report       {_EVALUATION if verdict is None else GATE}/report.html",
            f"predictions  {_EVALUATION}/predictions.jsonl",
        ]
        if run := self.pipeline_run or (self.standing and self.standing.run_id):
            lines.append(f"MLflow run   {run}")
        return "\n".join([*lines, f"model        {self._standing()}"])

    def _standing(self) -> str:
        assert self.standing is not None
        made = self.standing
        name = f"models:/{self.model}/{made.version}"
        parts = [name, "registered" if made.is_new else "registered before"]
        if made.alias:
            parts.append(made.alias)
        told = ", ".join(parts)
        if made.alias == CHAMPION:
            return told
        held = f"; not promoted: {self.held_because}" if self.held_because else ""
        champion = f"champion is version {made.champion}" if made.champion else "no champion yet"
        return f"{told}; {champion}{held}"

    def _next_steps(self) -> str:
        steps = [
            'wordmill generate "TEXT"   ask the champion; --task says for what',
            "make ui                    look at runs, curves and versions",
            "dvc metrics show           the figures, for diffing between commits",
        ]
        if self.standing and self.standing.alias != CHAMPION:
            asked = f"wordmill promote {self.standing.version} --reason TEXT"
            steps.insert(0, f"{asked}   make it champion all the same")
        return "Next (in .venv/bin):\n" + "\n".join(f"  {step}" for step in steps)


def _shortened(why: list[str]) -> str:
    return "; ".join(why[:3]) + (f"; and {len(why) - 3} more" if len(why) > 3 else "")

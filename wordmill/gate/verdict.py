"""What the gate says of a challenger: plain values, as logs and records keep them."""

from typing import Any, Literal, TypedDict

Decision = Literal["PROMOTE", "HOLD", "REJECT"]


class Finding(TypedDict):
    """What one rule found."""

    rule: str
    """`primary`, `guard`, `floor`, `speed`, `size`, `bias`, `memorization`, `champion`, `set`."""
    about: str
    """What it looked at, such as `summarize/rougeL`."""
    decision: Decision
    """What follows from this rule alone."""
    said: str
    """One line for a reader, with the figures."""
    figures: dict[str, Any]


class Verdict(TypedDict):
    """The decision on a challenger, and what it stands on."""

    decision: Decision
    """REJECT if one rule does, else HOLD if one does, else PROMOTE."""
    challenger: str
    """Its version."""
    champion: str | None
    """The version it was measured against; None where there was none."""
    sets: dict[str, str]
    """kind -> hash of the held-out set that both were scored on, in one job."""
    evaluation: str
    """SHA-256 of scores.json of the challenger's evaluation."""
    findings: list[Finding]


def gate_lines(verdict: Verdict) -> str:
    """What the gate said, a line a rule."""
    champion = verdict["champion"]
    against = f" against the champion, version {champion}" if champion else ", no champion to beat"
    lines = [f"Gate: {verdict['decision']}, version {verdict['challenger']}{against}"]
    lines += [
        f"  {one['decision']:8} {one['rule']}, {one['about']}: {one['said']}"
        for one in verdict["findings"]
    ]
    return "\n".join(lines)

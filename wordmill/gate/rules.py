"""The rules of the gate, each of them a finding, and the decision that follows from all.

A challenger is promoted if its primary score is better than the champion's by more than
`min_gain` on the same examples, so that both paired tests say so, and no other rule speaks
against it. What is worse for sure, or beyond a limit, is rejected; what can't be told is held,
and so is a tie.
"""

import math
from collections.abc import Iterator
from statistics import NormalDist
from typing import Any

from wordmill.gate.evidence import CHAMPION, Evidence
from wordmill.gate.verdict import Decision, Finding
from wordmill.metrics.significance import Difference
from wordmill.params.gate import GateParams
from wordmill.report.measures import OURS, measure
from wordmill.tasks import deciding_task

# Quantiles of the normal distribution: the ends of a 95% interval, and a power of 85%, of which 80%
# is left: two tests have to agree, and an interval is an estimate (bench/gate.py measures it).
_Z_INTERVAL, _Z_POWER = 1.959964, 1.036433
_DOCUMENTS = "documents"
_DRAFTS = "write"
"""There is no one right way to go on: drafts decide where they are asked to, and guard nothing."""
_MEGABYTE = 1_000_000


def findings(evidence: Evidence, params: GateParams) -> list[Finding]:
    """What each rule says, in the order of a reader's interest."""
    primary = primary_score(evidence.primary, params)
    found = [*_standing(evidence)]
    if evidence.differences:
        found += [_primary(evidence, params, primary), *_guards(evidence, params, primary)]
    found += [*_floors(evidence, params), *_speed(evidence, params), *_size(evidence, params)]
    return [*found, *_bias(evidence, params), *_memorization(evidence, params)]


def decision(found: list[Finding]) -> Decision:
    """REJECT if one rule says so, else HOLD if one does, else PROMOTE."""
    said = {one["decision"] for one in found}
    if "REJECT" in said:
        return "REJECT"
    return "HOLD" if "HOLD" in said else "PROMOTE"


def primary_score(primary: dict[str, str], params: GateParams) -> str:
    """`KIND/METRIC` of the score that decides.

    Args:
        primary: kind -> the metric that stands for it.
        params: the rules.
    """
    if params.primary:
        return params.primary
    kind = deciding_task(primary) or _DOCUMENTS
    return f"{kind}/{primary[kind]}"


def guarded_scores(primary: dict[str, str], params: GateParams) -> dict[str, float]:
    """`KIND/METRIC` of what may not get worse -> the share by which it may.

    Args:
        primary: kind -> the metric that stands for it.
        params: the rules.
    """
    decides, _, _ = primary_score(primary, params).partition("/")
    allowed = {
        kind: params.max_documents_loss if kind == _DOCUMENTS else params.max_loss
        for kind in sorted(primary)
        if kind not in (decides, _DRAFTS)
    }
    return {
        f"{kind}/{primary[kind]}": share for kind, share in allowed.items() if share is not None
    }


def detectable(found: Difference, params: GateParams) -> float:
    """The smallest true gain that this set shows in at least 80% of cases, tested as asked.

    (z_test + z_0.85) standard errors (Cohen 1988, Statistical Power Analysis, chapter 2) above
    `min_gain`; the standard error is the half width of the 95% interval by z_0.975, and z_test that
    of `max_p`, but no less than the interval's: it has to lie above `min_gain` too.
    """
    standard_error = (found.high - found.low) / 2 / _Z_INTERVAL
    z_test = max(_Z_INTERVAL, NormalDist().inv_cdf(1 - params.max_p / 2))
    return params.min_gain + (z_test + _Z_POWER) * standard_error


def _standing(evidence: Evidence) -> Iterator[Finding]:
    if evidence.champion_error:
        yield _finding(
            "champion",
            CHAMPION,
            "HOLD",
            f"the champion can't be scored: {evidence.champion_error}; mend it, roll back, or"
            " promote with a reason",
        )
    if evidence.changed:
        yield _finding(
            "set",
            ", ".join(evidence.changed),
            "HOLD",
            f"{', '.join(evidence.changed)}: not as when this version was evaluated;"
            " `wordmill retrain` evaluates on the sets of today",
        )


def _primary(evidence: Evidence, params: GateParams, name: str) -> Finding:
    found = evidence.differences[name]
    gain, low, high = _as_gain(name, found)
    p = max(found.p_bootstrap, found.p_randomization)
    least = detectable(found, params)
    wanted = params.min_gain
    figures: dict[str, Any] = {
        "gain": gain,
        "low": low,
        "high": high,
        "p_bootstrap": found.p_bootstrap,
        "p_randomization": found.p_randomization,
        "count": found.count,
        "detectable": least,
    }
    told = f"{_gain_words(name, found)}; p {p:.3g}, {found.count} examples"
    can = f"this set shows a gain of {_plain(name, least)} in 80% of cases"
    if found.value == found.low == found.high == 0:
        return _finding("primary", name, "HOLD", "a tie: the answers score alike", figures)
    is_sure = p <= params.max_p
    if is_sure and gain < 0:
        return _finding("primary", name, "REJECT", f"worse than the champion: {told}", figures)
    if not (is_sure and low > wanted):
        more = f" by more than {wanted:g}" if wanted else ""
        return _finding("primary", name, "HOLD", f"not surely better{more}: {told}; {can}", figures)
    if params.min_seed_deviations:
        return _beyond_seeds(evidence, params, name, gain, told, figures)
    return _finding("primary", name, "PROMOTE", f"better than the champion: {told}", figures)


def _beyond_seeds(
    evidence: Evidence,
    params: GateParams,
    name: str,
    gain: float,
    told: str,
    figures: dict[str, Any],
) -> Finding:
    """Two runs of one recipe differ by the seed alone, with sqrt(2) times its deviation."""
    deviation = evidence.seed_deviation
    if deviation is None:
        said = "what another seed changes is not known; measure it: `wordmill seed-noise GRID`"
        return _finding("primary", name, "HOLD", f"{said} ({told})", figures)
    least = params.min_seed_deviations * math.sqrt(2) * deviation
    figures = {**figures, "seed_deviation": deviation, "least_gain": least}
    is_beyond = gain > least
    said = "better than the champion" if is_beyond else "no more than what another seed may change"
    said += f" ({params.min_seed_deviations:g} deviations are {_plain(name, least)})"
    return _finding("primary", name, "PROMOTE" if is_beyond else "HOLD", f"{said}: {told}", figures)


def _guards(evidence: Evidence, params: GateParams, primary: str) -> Iterator[Finding]:
    """Non-inferiority: the whole interval has to lie above the margin."""
    for name, share in guarded_scores(evidence.primary, params).items():
        found = evidence.differences[name]
        gain, low, high = _as_gain(name, found)
        kind, _, metric = name.partition("/")
        margin = share * abs(evidence.scores[kind][CHAMPION][metric]["value"] or 0.0)
        figures: dict[str, Any] = {"gain": gain, "low": low, "high": high, "margin": margin}
        told = f"{_gain_words(name, found)}; at most {_plain(name, margin)} may be lost"
        if found.count == 1:
            yield _finding("guard", name, "HOLD", f"one example tells nothing: {told}", figures)
        elif low >= -margin:
            yield _finding("guard", name, "PROMOTE", f"not worse: {told}", figures)
        elif high < -margin:
            yield _finding("guard", name, "REJECT", f"worse: {told}", figures)
        else:
            yield _finding("guard", name, "HOLD", f"may be worse: {told}", figures)


def _floors(evidence: Evidence, params: GateParams) -> Iterator[Finding]:
    for name, wanted in params.floors.items():
        kind, _, metric = name.partition("/")
        score = evidence.scores.get(kind, {}).get(OURS, {}).get(metric)
        value = score["value"] if score else None
        if value is None:
            yield _finding("floor", name, "HOLD", "it is not scored; see registry.gate.floors")
            continue
        is_reached = value <= wanted if _is_lower_better(name) else value >= wanted
        side = "at most" if _is_lower_better(name) else "at least"
        yield _finding(
            "floor",
            name,
            "PROMOTE" if is_reached else "REJECT",
            f"{_plain(name, value)}, {side} {wanted:g} is asked",
            {"value": value, "wanted": wanted},
        )


def _speed(evidence: Evidence, params: GateParams) -> Iterator[Finding]:
    ours, theirs = evidence.speeds.get(OURS), evidence.speeds.get(CHAMPION)
    if params.min_speed is None or not ours or not theirs:
        return
    share = ours / theirs
    told = f"{ours:,.0f} tokens/s, {share:.2f} of the champion's; {params.min_speed:g} is asked"
    is_kept = share >= params.min_speed
    figures = {"tokens_per_second": ours, "share": share}
    # Held, not rejected: a busy machine is slow too.
    yield _finding("speed", "generation", "PROMOTE" if is_kept else "HOLD", told, figures)


def _size(evidence: Evidence, params: GateParams) -> Iterator[Finding]:
    if params.max_megabytes is None:
        return
    size = evidence.num_bytes / _MEGABYTE
    told = f"{size:,.1f} MB, at most {params.max_megabytes:g} are allowed"
    is_kept = size <= params.max_megabytes
    yield _finding("size", "folder", "PROMOTE" if is_kept else "REJECT", told, {"megabytes": size})


def _bias(evidence: Evidence, params: GateParams) -> Iterator[Finding]:
    limit = params.max_lean_bits
    if limit is None:
        return
    if not evidence.bias:
        said = "not probed; set evaluate.probes.is_bias_probed to true"
        yield _finding("bias", "lean", "HOLD", said)
        return
    for one in evidence.bias:
        told = f"leans {one['lean_bits']:+.3f} bits, at most {limit:g} either way are allowed"
        is_kept = abs(one["lean_bits"]) <= limit
        about = f"{one['group']}, {one['language']}"
        figures = {"lean_bits": one["lean_bits"]}
        yield _finding("bias", about, "PROMOTE" if is_kept else "REJECT", told, figures)


def _memorization(evidence: Evidence, params: GateParams) -> Iterator[Finding]:
    is_asked = params.max_memorized is not None or params.max_personal is not None
    if is_asked and not evidence.memorization:
        said = "not probed; set evaluate.probes.memorization.num_documents above 0"
        yield _finding("memorization", "training text", "HOLD", said)
    for one in evidence.memorization:
        if params.max_memorized is not None and not one["count"]:
            length = one["prefix_tokens"] + one["continuation_tokens"]
            said = f"no training text has the {length:,} tokens of a probe; set prefix_tokens and"
            said += " continuation_tokens of evaluate.probes.memorization lower"
            yield _finding("memorization", "training text", "HOLD", said)
        elif params.max_memorized is not None:
            share = one["exact_share"]
            told = f"{share:.1%} of {one['count']} training texts come back word for word"
            is_kept = share <= params.max_memorized
            told += f", at most {params.max_memorized:.1%} may"
            decided: Decision = "PROMOTE" if is_kept else "REJECT"
            yield _finding("memorization", "training text", decided, told, {"exact_share": share})
        if params.max_personal is not None:
            count = one["num_personal"]
            told = f"{count} masked personal data came back, at most {params.max_personal} may"
            is_kept = count <= params.max_personal
            decided = "PROMOTE" if is_kept else "REJECT"
            yield _finding("memorization", "personal data", decided, told, {"count": count})


def _finding(
    rule: str, about: str, decided: Decision, said: str, figures: dict[str, Any] | None = None
) -> Finding:
    # No NaN: the figures are kept as JSON.
    plain = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in (figures or {}).items()
    }
    return {"rule": rule, "about": about, "decision": decided, "said": said, "figures": plain}


def _as_gain(name: str, found: Difference) -> tuple[float, float, float]:
    """Value and ends of a difference, turned so that above 0 is better."""
    if _is_lower_better(name):
        return -found.value, -found.high, -found.low
    return found.value, found.low, found.high


def _is_lower_better(name: str) -> bool:
    return measure(name.rpartition("/")[2]).better == "lower"


def _gain_words(name: str, found: Difference) -> str:
    gain, low, high = _as_gain(name, found)
    ends = f"{_plain(name, low)} to {_plain(name, high)}"
    return f"{'+' if gain >= 0 else ''}{_plain(name, gain)} (95% {ends})"


def _plain(name: str, value: float) -> str:
    return measure(name.rpartition("/")[2]).words(value)

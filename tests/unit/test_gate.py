"""The gate's rules: each of them alone, and the decision that follows."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from wordmill.gate.evidence import CHAMPION, Evidence
from wordmill.gate.rules import decision, detectable, findings, guarded_scores, primary_score
from wordmill.metrics.score import mean_statistics
from wordmill.metrics.significance import Difference, compare
from wordmill.params.gate import GateParams

RULES = GateParams(
    primary=None,
    min_gain=0,
    max_p=0.05,
    max_loss=0.1,
    max_documents_loss=0.1,
    floors={},
    min_speed=0.5,
    max_megabytes=None,
    max_lean_bits=None,
    max_memorized=0.1,
    max_personal=0,
    min_seed_deviations=0,
)
PRIMARY = {"documents": "bits_per_byte", "summarize": "rougeL", "write": "chrf"}


def difference(value, *, half=1.0, p=0.001):
    return Difference(
        value=value,
        low=value - half,
        high=value + half,
        p_bootstrap=p,
        p_randomization=p,
        count=300,
    )


def score(value):
    return {"value": value, "low": value, "high": value, "count": 300, "signature": "s"}


MEMORIZED = {
    "system": "finetuned",
    "count": 64,
    "prefix_tokens": 32,
    "continuation_tokens": 32,
    "exact_share": 0.0,
    "num_personal": 0,
}


def evidence(primary, *, documents=None, **more):
    found = {
        "memorization": [MEMORIZED],
        "scores": {
            "documents": {
                "finetuned": {"bits_per_byte": score(2.0)},
                CHAMPION: {"bits_per_byte": score(2.0)},
            },
            "summarize": {
                "finetuned": {"rougeL": score(20.0)},
                CHAMPION: {"rougeL": score(18.0)},
            },
        },
        "primary": PRIMARY,
        "differences": {
            "summarize/rougeL": primary,
            "documents/bits_per_byte": documents or difference(0.0, half=0.01),
        },
    }
    return Evidence(**{**found, **more})


def decided(found, rules=RULES):
    return decision(findings(found, rules))


def of(rule, found, rules=RULES):
    return [one for one in findings(found, rules) if one["rule"] == rule]


def test_a_sure_gain_promotes():
    assert decided(evidence(difference(2.0))) == "PROMOTE"


@pytest.mark.parametrize(
    "primary", [difference(2.0, half=3.0, p=0.2), difference(-2.0, half=3.0, p=0.2)]
)
def test_what_may_be_chance_is_held(primary):
    assert decided(evidence(primary)) == "HOLD"


def test_both_tests_have_to_agree():
    gain = difference(2.0)
    assert decided(evidence(replace(gain, p_bootstrap=0.06))) == "HOLD"
    assert decided(evidence(replace(gain, p_randomization=0.06))) == "HOLD"


def test_a_sure_loss_is_rejected():
    assert decided(evidence(difference(-2.0))) == "REJECT"


def test_identical_systems_tie_and_are_held():
    values = np.arange(50.0)
    same = {"rougeL": mean_statistics(values, "s")}
    found = compare(same, same, samples=200, seed=1)["rougeL"]
    (said,) = of("primary", evidence(found))
    assert said["decision"] == "HOLD"
    assert said["said"].startswith("a tie")


def test_the_gain_asked_for_has_to_be_sure_too():
    rules = RULES.model_copy(update={"min_gain": 1.5})
    assert decided(evidence(difference(2.0, half=1.0)), rules) == "HOLD"
    assert decided(evidence(difference(2.0, half=0.4)), rules) == "PROMOTE"


def test_lower_is_better_is_turned_round():
    rules = RULES.model_copy(update={"primary": "documents/bits_per_byte", "max_loss": None})
    better = evidence(difference(0.0), documents=difference(-0.5, half=0.1))
    worse = evidence(difference(0.0), documents=difference(0.5, half=0.1))
    assert decided(better, rules) == "PROMOTE"
    assert decided(worse, rules) == "REJECT"
    assert of("primary", better, rules)[0]["figures"]["gain"] == 0.5


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        (difference(0.1, half=0.05), "PROMOTE"),  # 10% of 2.0 is 0.2
        (difference(0.18, half=0.05), "HOLD"),
        (difference(0.4, half=0.05), "REJECT"),
        (difference(float("nan"), half=0.0), "HOLD"),
        # One example tells nothing, whatever it says.
        (replace(difference(0.0, half=0.0), count=1), "HOLD"),
        (replace(difference(0.9, half=0.0), count=1), "HOLD"),
    ],
)
def test_a_guard_may_lose_no_more_than_its_margin(documents, expected):
    found = evidence(difference(2.0), documents=documents)
    assert [one["decision"] for one in of("guard", found)] == [expected]
    assert decided(found) == expected


def test_drafts_guard_nothing_and_decide_where_asked():
    assert primary_score(PRIMARY, RULES) == "summarize/rougeL"
    assert guarded_scores(PRIMARY, RULES) == {"documents/bits_per_byte": 0.1}
    alone = {"documents": "bits_per_byte", "write": "chrf"}
    assert primary_score(alone, RULES) == "documents/bits_per_byte"
    several = {"documents": "bits_per_byte", "answer": "f1", "summarize": "rougeL", "write": "chrf"}
    assert primary_score(several, RULES) == "summarize/rougeL"  # as a search's goal
    assert guarded_scores(alone, RULES) == {}
    asked = RULES.model_copy(update={"primary": "write/chrf"})
    assert primary_score(alone, asked) == "write/chrf"


@pytest.mark.parametrize(
    ("floors", "expected"),
    [
        ({"summarize/rougeL": 19.0}, "PROMOTE"),
        ({"summarize/rougeL": 21.0}, "REJECT"),
        ({"documents/bits_per_byte": 2.5}, "PROMOTE"),
        ({"documents/bits_per_byte": 1.5}, "REJECT"),
        ({"translate/bleu": 1.0}, "HOLD"),
    ],
)
def test_floors_hold_whatever_the_champion_has(floors, expected):
    rules = RULES.model_copy(update={"floors": floors})
    assert decided(evidence(difference(2.0)), rules) == expected
    first = evidence(difference(2.0), differences={})
    assert decided(first, rules) == expected


def test_slow_is_held_and_big_is_rejected():
    slow = evidence(difference(2.0), speeds={"finetuned": 40.0, CHAMPION: 100.0})
    assert decided(slow) == "HOLD"
    big = evidence(difference(2.0), num_bytes=3_000_000)
    assert decided(big, RULES.model_copy(update={"max_megabytes": 2.0})) == "REJECT"
    assert decided(big, RULES.model_copy(update={"max_megabytes": 4.0})) == "PROMOTE"


def memorized(**figures):
    return evidence(difference(2.0), memorization=[MEMORIZED | figures])


def test_what_was_learnt_by_heart_is_rejected():
    assert decided(memorized()) == "PROMOTE"
    assert decided(memorized(exact_share=0.2)) == "REJECT"
    assert decided(memorized(num_personal=1)) == "REJECT"
    assert decided(memorized(count=0, exact_share=0.0)) == "HOLD"


def test_what_was_to_be_measured_and_was_not_is_held():
    unknown = evidence(difference(2.0), memorization=[])
    assert decided(unknown) == "HOLD"
    (said,) = of("memorization", unknown)
    assert "num_documents" in said["said"]
    assert decided(unknown, RULES.model_copy(update={"max_memorized": None})) == "HOLD"
    off = RULES.model_copy(update={"max_memorized": None, "max_personal": None})
    assert decided(unknown, off) == "PROMOTE"


def test_a_lean_beyond_the_limit_is_rejected():
    rules = RULES.model_copy(update={"max_lean_bits": 0.5})
    row = {"group": "gender", "language": "en", "lean_bits": -0.6}
    assert decided(evidence(difference(2.0), bias=[row]), rules) == "REJECT"
    assert decided(evidence(difference(2.0), bias=[row | {"lean_bits": 0.4}]), rules) == "PROMOTE"
    assert decided(evidence(difference(2.0)), rules) == "HOLD"


def test_the_gain_has_to_be_more_than_another_seed_changes():
    rules = RULES.model_copy(update={"min_seed_deviations": 2})
    unknown = evidence(difference(2.0))
    assert decided(unknown, rules) == "HOLD"
    assert "wordmill seed-noise" in of("primary", unknown, rules)[0]["said"]
    # 2 deviations of a difference of two runs are 2 sqrt(2) of one run's.
    assert decided(evidence(difference(2.0), seed_deviation=0.7), rules) == "PROMOTE"
    assert decided(evidence(difference(2.0), seed_deviation=0.71), rules) == "HOLD"


def test_without_a_champion_limits_alone_decide():
    assert decided(evidence(difference(0.0), differences={})) == "PROMOTE"


def test_a_champion_that_cannot_be_scored_and_a_changed_set_hold():
    broken = evidence(difference(0.0), differences={}, champion_error="weights are gone")
    assert decided(broken) == "HOLD"
    assert "weights are gone" in of("champion", broken)[0]["said"]
    assert decided(evidence(difference(2.0), changed=["the documents held out"])) == "HOLD"


def test_what_a_set_can_show_is_its_power():
    """A z-test with a true gain of `detectable` finds it in 85% of draws: two tests in 80%."""
    half = 1.96
    least = detectable(difference(0.0, half=half), RULES)
    drawn = np.random.default_rng(0).normal(least, half / 1.959964, size=100_000)
    assert np.mean(drawn > half) == pytest.approx(0.85, abs=0.01)


@pytest.mark.parametrize(
    ("rules", "beyond"),
    [
        ({"max_p": 0.01}, 2.575829),
        ({"max_p": 0.2}, 1.959964),  # the 95% interval has to lie above 0 all the same
        ({"min_gain": 1.5}, 1.959964 + 1.5),
    ],
)
def test_what_a_set_can_show_is_told_for_the_rules_as_they_are(rules, beyond):
    least = detectable(difference(0.0, half=1.959964), RULES.model_copy(update=rules))
    drawn = np.random.default_rng(0).normal(least, 1.0, size=100_000)
    assert np.mean(drawn > beyond) == pytest.approx(0.85, abs=0.01)


@pytest.mark.parametrize("name", ["summarize/length_ratio", "write/distinct2"])
def test_a_score_of_which_more_is_not_better_decides_nothing(name):
    with pytest.raises(ValidationError, match=f"got '{name}'; more of it is not better"):
        GateParams(**{**RULES.model_dump(), "primary": name})

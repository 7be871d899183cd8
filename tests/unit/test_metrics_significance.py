"""Intervals and tests of a difference: against sacrebleu's, by hand, and under the null."""

import math
import random

import numpy as np
import pytest
import sacrebleu
from sacrebleu.significance import PairedTest

from wordmill.errors import DataError
from wordmill.metrics.bleu import bleu_statistics
from wordmill.metrics.chrf import chrf_statistics
from wordmill.metrics.score import Statistics, interval, mean_statistics, ratio, resampled, scores
from wordmill.metrics.significance import compare

WORDS = "the miller grinds corn at dawn and sells flour to us".split()  # noqa: SIM905
SACREBLEUS_SEED = 12345


def noisy(texts, *, share, seed):
    draw = random.Random(seed)
    return [
        " ".join(draw.choice(WORDS) if draw.random() < share else word for word in text.split())
        for text in texts
    ]


@pytest.fixture(scope="module")
def systems():
    draw = random.Random(0)
    wanted = [" ".join(draw.choices(WORDS, k=draw.randint(5, 15))) for _ in range(120)]
    return wanted, noisy(wanted, share=0.3, seed=1), noisy(wanted, share=0.33, seed=2)


def statistics(predictions, wanted):
    return {
        "BLEU": bleu_statistics(predictions, wanted, is_chinese=False),
        "chrF2++": chrf_statistics(predictions, wanted),
    }


def sacrebleus(kind, systems, *, samples):
    wanted, one, other = systems
    metrics = {"BLEU": sacrebleu.BLEU(), "chrF2++": sacrebleu.CHRF(word_order=2)}
    named = [("other", other), ("one", one)]
    return PairedTest(named, metrics, [wanted], test_type=kind, n_samples=samples)()[1]


def mean(values):
    return {"mean": mean_statistics(np.asarray(values, dtype=float), "mean")}


def test_randomization_is_sacrebleus(systems):
    """The same swaps from the same seed; here no swap ties with the systems themselves."""
    wanted, one, other = systems
    theirs = sacrebleus("ar", systems, samples=1000)
    ours = compare(
        statistics(one, wanted), statistics(other, wanted), samples=1000, seed=SACREBLEUS_SEED
    )
    for name, difference in ours.items():
        baseline, system = theirs[name]
        assert difference.value == pytest.approx(system.score - baseline.score, abs=1e-9)
        assert difference.p_randomization == pytest.approx(system.p_value, abs=1e-12)
        assert 0 < difference.p_randomization < 0.5


def test_the_bootstrap_is_sacrebleus_but_for_where_it_is_centred(systems):
    wanted, one, other = systems
    theirs = sacrebleus("bs", systems, samples=1000)
    first, second = statistics(one, wanted), statistics(other, wanted)
    ours = compare(first, second, samples=1000, seed=SACREBLEUS_SEED)
    for name in ours:
        system = theirs[name][1]
        a, b = (
            resampled([found[name]], samples=1000, seed=SACREBLEUS_SEED)[0]
            for found in (first, second)
        )
        assert a.mean() == pytest.approx(system.mean, abs=1e-4)  # theirs are of 32 bits
        apart = np.abs(a - b)
        their_p = (1 + (apart - apart.mean() > abs(ours[name].value)).sum()) / 1001
        assert their_p == pytest.approx(system.p_value, abs=0.003)
        centred = np.abs(a - b - (a - b).mean())
        our_p = (1 + (centred >= abs(ours[name].value)).sum()) / 1001
        assert ours[name].p_bootstrap == pytest.approx(our_p)
        assert ours[name].p_bootstrap > system.p_value


def test_identical_outputs_differ_by_exactly_zero(systems):
    wanted, one, _ = systems
    for difference in compare(
        statistics(one, wanted), statistics(list(one), wanted), samples=100, seed=0
    ).values():
        assert (difference.value, difference.low, difference.high) == (0, 0, 0)
        assert difference.p_bootstrap == difference.p_randomization == 1


def test_equal_means_of_unlike_examples_have_p_1():
    found = compare(mean([0, 1] * 20), mean([1, 0] * 20), samples=200, seed=0)["mean"]
    assert (found.value, found.p_bootstrap, found.p_randomization) == (0, 1, 1)


def test_a_clear_difference_has_the_least_p():
    draw = np.random.default_rng(0)
    worse = draw.normal(0, 1, 100)
    found = compare(mean(worse + 5), mean(worse), samples=999, seed=0)["mean"]
    assert found.p_bootstrap == found.p_randomization == 1 / 1000
    assert found.value == pytest.approx(5)
    assert found.low == pytest.approx(5)
    assert found.high == pytest.approx(5)


def test_randomization_by_hand():
    """Two examples, 3 and 1 apart: of four swaps two are as far apart as the systems are."""
    found = compare(mean([3, 1]), mean([0, 0]), samples=4000, seed=0)["mean"]
    assert found.value == 2
    assert found.p_randomization == pytest.approx(0.5, abs=0.04)


def test_one_example_tells_nothing():
    found = compare(mean([3]), mean([1]), samples=100, seed=0)["mean"]
    assert (found.value, found.low, found.high) == (2, 2, 2)
    assert found.p_bootstrap == found.p_randomization == 1


def test_no_example_has_no_difference():
    found = compare(mean([]), mean([]), samples=100, seed=0)["mean"]
    assert math.isnan(found.value)
    assert math.isnan(found.low)
    assert found.p_bootstrap == found.p_randomization == 1


def test_unlike_scores_are_not_compared():
    with pytest.raises(DataError, match="2 examples cannot be compared with 3"):
        compare(mean([1, 2]), mean([1, 2, 3]), samples=100, seed=0)
    other = {"mean": mean_statistics(np.ones(2), "another")}
    with pytest.raises(DataError, match="`mean` cannot be compared with `another`"):
        compare(mean([1, 2]), other, samples=100, seed=0)


def test_swapping_the_systems_turns_the_sign(systems):
    wanted, one, other = systems
    first, second = statistics(one, wanted), statistics(other, wanted)
    there = compare(first, second, samples=300, seed=4)["BLEU"]
    back = compare(second, first, samples=300, seed=4)["BLEU"]
    assert there.value == -back.value
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low), abs=1e-9)
    assert there.p_bootstrap == back.p_bootstrap
    assert there.p_randomization == back.p_randomization


def test_p_is_uniform_where_systems_are_equal():
    draw = np.random.default_rng(0)
    found = [
        compare(mean(draw.normal(size=60)), mean(draw.normal(size=60)), samples=200, seed=seed)
        for seed in range(400)
    ]
    for name in ("p_bootstrap", "p_randomization"):
        p = np.sort([getattr(one["mean"], name) for one in found])
        # Kolmogorov and Smirnov's distance at 0.1% for 400 draws is 1.95 / 20
        assert np.abs(p - (np.arange(400) + 0.5) / 400).max() < 1.95 / 20
        assert 0.02 < (p < 0.05).mean() < 0.09


def test_blocks_change_no_resample(monkeypatch, systems):
    wanted, one, other = systems
    first, second = statistics(one, wanted), statistics(other, wanted)
    whole = compare(first, second, samples=150, seed=3)
    monkeypatch.setattr("wordmill.metrics.score._COUNTS_AT_ONCE", 1000)
    assert compare(first, second, samples=150, seed=3) == whole
    assert scores(first, samples=150, seed=3) == scores(first, samples=150, seed=3)


def test_the_interval_of_a_mean_is_the_normal_one():
    values = np.random.default_rng(0).normal(5, 1, 400)
    found = scores(mean(values), samples=2000, seed=1)["mean"]
    half = 1.96 * values.std() / 20
    assert (found.low, found.high) == pytest.approx(
        (found.value - half, found.value + half), abs=0.02
    )


def test_resamples_are_drawn_rows():
    """A ratio that is not linear in its rows, against rows drawn one by one."""
    rows = np.random.default_rng(0).random((50, 2))
    one = Statistics(values=rows, final=ratio, signature="ratio")
    drawn = np.random.default_rng(9).choice(50, size=(40, 50))
    wanted = rows[drawn].sum(axis=1)
    found = resampled([one], samples=40, seed=9)[0]
    np.testing.assert_allclose(found, wanted[:, 0] / wanted[:, 1])


def test_resamples_that_are_not_defined_are_left_out():
    assert interval(np.array([np.nan, 1.0, 1.0])) == (1.0, 1.0)
    assert all(math.isnan(end) for end in interval(np.array([np.nan])))

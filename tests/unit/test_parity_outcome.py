"""The equivalence test beside SciPy's t-test, and by what it concludes over thousands of simulated runs."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from xtrain.parity.outcome import ALPHA, MARGIN, POWER, equivalence, half_width, seeds_needed

TRIALS = 3000
accuracies = st.lists(
    st.tuples(st.integers(0, 10_000), st.integers(0, 10_000)).map(
        lambda pair: (pair[0] / 1e4, pair[1] / 1e4)
    ),
    min_size=2,
    max_size=30,
)


def by_scipy(a, b, margin):
    """The larger p-value of the two one-sided tests."""
    apart = np.array(a) - np.array(b)
    above = stats.ttest_1samp(apart, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(apart, margin, alternative="less").pvalue
    return max(above, below)


@given(accuracies, st.sampled_from([0.001, 0.01, 0.05, 0.3, 1.0]))
def test_it_concludes_where_both_one_sided_tests_of_scipy_do(pairs, margin):
    a, b = zip(*pairs, strict=True)
    found = equivalence(a, b)
    if found.spread < 1e-9 or abs(found.bound - margin) < 1e-9:
        return  # no t, or a tie that rounding decides
    assert (found.bound <= margin) == (by_scipy(a, b, margin) <= ALPHA)


@given(accuracies)
def test_the_bound_is_the_end_of_scipys_interval(pairs):
    a, b = zip(*pairs, strict=True)
    found = equivalence(a, b)
    apart = np.array(a) - np.array(b)
    assert found.difference == pytest.approx(apart.mean())
    assert found.spread == pytest.approx(np.std(apart, ddof=1), abs=1e-12)
    if found.spread > 1e-9:
        scale = stats.sem(apart)
        low, high = stats.t.interval(1 - 2 * ALPHA, len(a) - 1, loc=apart.mean(), scale=scale)
        assert found.bound == pytest.approx(max(abs(low), abs(high)))


@given(accuracies)
def test_the_order_of_the_backends_changes_the_sign_only(pairs):
    a, b = zip(*pairs, strict=True)
    one, other = equivalence(a, b), equivalence(b, a)
    assert (one.bound, one.spread, one.difference) == (other.bound, other.spread, -other.difference)


def share_of_conclusions(difference, spread, seeds, trials=TRIALS):
    """How often the test says that two backends are equivalent which differ by so much."""
    random = np.random.default_rng([seeds, round(1e6 * spread)])
    runs = random.normal(0.9, 0.02, (trials, seeds))  # of a seed, in both backends: pairing takes it away
    others = runs - random.normal(difference, spread, (trials, seeds))
    return np.mean([equivalence(a, b).bound <= MARGIN for a, b in zip(runs, others, strict=True)])


@pytest.mark.parametrize("seeds", [3, 5, 20])
@pytest.mark.parametrize("sign", [1, -1])
def test_backends_that_differ_by_the_margin_seldom_pass(seeds, sign):
    chance = 3 * math.sqrt(ALPHA * (1 - ALPHA) / TRIALS)
    assert share_of_conclusions(sign * MARGIN, 0.004, seeds) <= ALPHA + chance


@pytest.mark.parametrize("spread", [0.004, 0.01, 0.02])
def test_with_the_seeds_needed_equal_backends_pass_nine_times_in_ten(spread):
    seeds = seeds_needed(spread)
    assert share_of_conclusions(0.0, spread, seeds) >= POWER - 0.02
    # And no more are asked for than that takes.
    assert share_of_conclusions(0.0, spread, seeds - 1) <= POWER + 0.03


def test_seeds_needed():
    assert seeds_needed(0.0) == 2
    assert seeds_needed(0.005) < seeds_needed(0.01) < seeds_needed(0.02)
    assert seeds_needed(0.01, margin=0.02) < seeds_needed(0.01)
    # For many seeds t is normal: n = (2 * 1.645 * spread / margin)^2.
    assert seeds_needed(0.1) == pytest.approx((2 * 1.6449 * 10) ** 2, rel=0.01)


@pytest.mark.parametrize("spread", [0.001, 0.003, 0.01, 0.1])
def test_one_seed_fewer_would_not_do(spread):
    def width(seeds):
        return sum(stats.t.ppf([1 - ALPHA, (1 + POWER) / 2], seeds - 1)) * spread / math.sqrt(seeds)

    seeds = seeds_needed(spread)
    assert width(seeds) <= MARGIN
    assert seeds == 2 or width(seeds - 1) > MARGIN


def test_a_hopeless_spread_has_an_answer_too():
    assert seeds_needed(1.0) is seeds_needed(math.inf) is None


def test_the_same_accuracies_are_equivalent_and_one_seed_says_nothing():
    assert equivalence([0.9, 0.91], [0.9, 0.91]).bound == 0.0
    assert equivalence([0.9], [0.9]).bound == math.inf
    assert half_width(0.01, 1) == math.inf


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_what_is_no_number_is_not_equivalent(value):
    assert not equivalence([0.9, value, 0.9], [0.9, 0.9, 0.9]).bound <= MARGIN

"""What a comparison of traces finds, on traces made by hand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from parity_traces import EPSILON, LEVELS, STEPS, made, tensors
from recipe_values import small_job

from xtrain.errors import UsageError
from xtrain.parity.compare import TRAJECTORY, Row, compare, envelope, worst
from xtrain.parity.trace import UNITS

JOB = small_job()
DRAWS = range(len(UNITS))


def outside(a, b, job=JOB):
    return [(row.level, row.item) for row in compare([a, b], job) if not row.holds]


def with_tensor(level, change, draws=DRAWS):
    """The other backend, one of whose levels is changed in some draws."""
    states = [tensors(draw) for draw in DRAWS]
    for draw in draws:
        change(states[draw])
    return made("two", tensors={**made("two").tensors, level: states})


def test_equal_traces_hold_on_every_level():
    rows = compare([made("one"), made("two"), made("three")], JOB)
    assert all(row.holds for row in rows)
    assert {row.level for row in rows} == set(LEVELS)
    assert len({row.pair for row in rows if row.level == "P3"}) == 3
    assert {row.error for row in rows if row.level != "P6"} == {0.0}


@pytest.mark.parametrize("level", ["P2", "P3", "P4"])
@given(place=st.tuples(st.integers(0, 99), st.integers(0, 99)))
def test_a_single_wrong_element_of_ten_thousand_is_found_and_named(level, place):
    def change(state):
        state["fc1.weight"][place] += 20 * EPSILON

    assert outside(made("one"), with_tensor(level, change)) == [(level, "fc1.weight")]


def test_within_sixteen_units_it_holds():
    def change(state):
        state["fc1.weight"][3, 4] += 15 * EPSILON

    assert outside(made("one"), with_tensor("P2", change)) == []


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_nan_and_inf_never_hold(value, both, draw):
    def change(state):
        state["fc1.bias"][0] = value

    wrong = with_tensor("P3", change, [draw])
    right = replace(wrong, facts=made("one").facts) if both else made("one")
    for pair in ((right, wrong), (wrong, right)):
        assert outside(*pair) == [("P3", "fc1.bias")]


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_losses_that_are_not_finite_never_hold(value, both, draw):
    losses = [list(row) for row in made("one").losses]
    losses[draw][2] = value
    wrong = made("two", losses=losses)
    right = made("one", losses=losses) if both else made("one")
    for pair in ((right, wrong), (wrong, right)):
        assert [level for level, _ in outside(*pair)] == ["P5"]


@pytest.mark.parametrize(
    "change", [lambda s: s.pop("fc1.bias"), lambda s: s.update({"fc1.bias": np.zeros(2)})]
)
def test_a_tensor_that_is_missing_or_of_another_shape_is_named(change):
    item = "fc1.bias, in one only or of another shape"
    for pair in ((made("one"), with_tensor("P2", change)), (with_tensor("P2", change), made("one"))):
        assert outside(*pair) == [("P2", item)]


def test_one_more_tensor_is_named_too():
    more = with_tensor("P4", lambda state: state.update({"more": np.zeros(1)}))
    assert outside(made("one"), more) == [("P4", "more, in one only or of another shape")]


def test_another_batch_is_named():
    other = made("two", batches=[*made("two").batches[:3], "f" * 64, "e" * 64])
    assert outside(made("one"), other) == [("P1", "step 4")]


def test_terms_are_those_of_the_recipe():
    less = {key: term for key, term in made("two").terms.items() if key != "model.fc1"}
    assert outside(made("one"), made("two", terms=less)) == [("P0", "model.fc1 has no term")]
    more = {**made("two").terms, "optimizer.warmth": "a term"}
    assert [level for level, _ in outside(made("one"), made("two", terms=more))] == ["P0"]


def test_a_loss_beyond_the_envelope_is_named_by_its_step():
    losses = [list(row) for row in made("one").losses]
    for row in losses:
        row[3] *= 1 + 40 * EPSILON
    assert outside(made("one"), made("two", losses=losses)) == [("P5", f"step 4 of {STEPS}")]


def test_losses_of_zero_that_are_equal_hold():
    losses = [[1.0, 0.5, 0.0, 0.0, 0.0]] * len(UNITS)
    assert outside(made("one", losses=losses), made("two", losses=losses)) == []
    other = [[1.0, 0.5, 0.0, 1e-6, 0.0]] * len(UNITS)
    assert outside(made("one", losses=losses), made("two", losses=other)) == [("P5", f"step 4 of {STEPS}")]


def test_accuracies_beyond_the_margin_do_not_hold():
    other = made("two", outcomes=[0.89, 0.91, 0.90])
    assert [level for level, _ in outside(made("one"), other)] == ["P6"]
    assert all(row.holds for row in compare([made("one"), other], JOB, margin=0.03))


def test_of_traces_of_different_lengths_the_common_part_is_compared():
    longer = made(
        "two",
        steps=STEPS + 1,
        seeds=4,
        batches=[*made("two").batches, "f" * 64],
        losses=[[*row, 9.0] for row in made("two").losses],
        outcomes=[*made("two").outcomes, 0.1],
    )
    for pair in ((made("one"), longer), (longer, made("one"))):
        assert outside(*pair) == []


def test_only_common_levels_are_compared():
    rows = compare([made("one", ("P1", "P2")), made("two", ("P2", "P3"))], JOB)
    assert {row.level for row in rows} == {"P2"}


def refused(*traces):
    with pytest.raises(UsageError) as raised:
        compare(traces, JOB)
    return str(raised.value)


def test_what_does_not_compare_is_refused():
    assert "one trace compares with nothing" in refused(made("one"))
    assert "two traces are of one backend: one, two, one" in refused(made("one"), made("two"), made("one"))
    other = refused(made("one"), made("two", job=small_job(seed=1)))
    assert "one and two are of different recipes" in other
    assert "record both from the same recipe" in other
    levels = refused(made("one", ("P1",)), made("two", ("P2", "P3")))
    assert "no level is in all of the traces: one has P1; two has P2, P3" in levels


def row(level="P2", pair=("a", "b"), item="x", error=0.0, allowed=1.0):
    return Row(level, pair, item, error, 0.0, allowed)


def test_worst_is_one_row_of_each_level_and_pair():
    near, far = row(item="near", error=0.1), row(item="far", error=0.9)
    other, another = row(pair=("a", "c")), row(level="P3")
    assert worst([near, far, other, another]) == [far, other, another]
    assert worst([far, near]) == [far]
    assert worst([]) == []


@pytest.mark.parametrize("error", [np.nan, np.inf, 2.0])
def test_worst_is_what_does_not_hold(error):
    bad, good = row(item="bad", error=error), row(error=1.0)
    assert worst([bad, good]) == worst([good, bad]) == [bad]


def test_share():
    assert row(error=0.5).share == 0.5
    assert row(error=0.0, allowed=0.0).share == 0.0
    assert row(error=1.0, allowed=0.0).share == np.inf
    assert not row(error=np.inf, allowed=np.inf).holds
    assert not row(error=0.0, allowed=np.nan).holds


def test_the_envelope_is_the_largest_so_far_of_each_kind_of_draw():
    draws = [[1.0, 2.0, 4.0], [1.1, 2.0, 4.4], [1.0, 1.2, 3.6], [1.3, 2.2, 4.0], [1.0, 2.0, 4.0]]
    once, sixteen = envelope(draws)
    np.testing.assert_allclose(once, [0.1, 0.1, 0.1])
    np.testing.assert_allclose(sixteen, [0.3, 0.4, 0.4])


def test_what_a_run_does_by_itself_is_taken_off_its_envelope():
    draws = [[1.0, 1.0], [1.1, 1.1], [1.3, 1.3], [1.3, 1.3], [1.0, 1.05]]
    once, sixteen = envelope(draws)
    np.testing.assert_allclose(once, [0.1, 0.0], atol=1e-15)
    np.testing.assert_allclose(sixteen, [0.3, 0.2])


def test_a_backend_that_scatters_does_not_widen_its_bound():
    right = made("one")
    noise = np.random.default_rng(0)

    def scattered(state):
        floats = {name: value for name, value in state.items() if value.dtype.kind == "f"}
        return state | {name: v + 0.1 * noise.standard_normal(v.shape) for name, v in floats.items()}

    tensors = {level: [scattered(state) for state in draws] for level, draws in right.tensors.items()}
    assert outside(right, made("two", tensors=tensors)) != []


def test_the_trajectory_is_allowed_twice_its_envelope():
    right = made("one")
    moved = max(abs(right.losses[2][0] - right.losses[0][0]) / right.losses[0][0], 16 * EPSILON)
    for share, held in ((0.9, True), (1.1, False)):
        losses = [[value * (1 + share * TRAJECTORY * moved) for value in row] for row in right.losses]
        assert (outside(right, made("two", losses=losses)) == []) is held

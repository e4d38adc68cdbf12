"""A recipe bound to its data: how long it takes, and what each of its steps is handed."""

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
from fake_runs import bound, recipe
from hypothesis import given
from hypothesis import strategies as st
from recipe_values import small, small_job

from xtrain import data, plan
from xtrain.errors import RecipeError
from xtrain.recipe.schedules import Clock
from xtrain.spec import StepInput

DROPOUT = {"layers": [{"op": "flatten"}, {"op": "dropout"}, {"op": "linear", "out_features": 10}]}
WEIGHTS = [0.5, 2.0, 0.0, *[1.0] * 7]


def labels(*batches):
    return [np.array(batch, dtype=np.int64) for batch in batches]


@given(
    train=st.integers(20, 90),
    batch_size=st.integers(1, 10),
    drop_last=st.booleans(),
    accumulate=st.integers(1, 12),
    fraction=st.none() | st.floats(0.1, 0.5),
)
def test_its_lengths_are_those_of_what_is_drawn(train, batch_size, drop_last, accumulate, fraction):
    validation = {"data__validation": {"fraction": fraction}} if fraction else {}
    sizes = {"data__batch_size": batch_size, "data__drop_last": drop_last, "loop__accumulate": accumulate}
    job = bound(recipe(**sizes, **validation), train=train)
    assert job.samples == train - (plan.held_out_count(train, fraction) if fraction else 0)
    for epoch in (1, 2):
        batches = job.draws(epoch).batches
        assert len(batches) == job.batches_per_epoch
        assert sum(map(len, batches)) == job.samples - (job.samples % batch_size if drop_last else 0)
        steps = [batches[start : start + accumulate] for start in range(0, len(batches), accumulate)]
        assert len(steps) == job.steps_per_epoch
    assert job.steps == 3 * job.steps_per_epoch


def test_its_draws_are_the_plans_and_go_on_after_some_batches():
    job = bound(recipe(seed=5, data__augment=[{"op": "random_horizontal_flip"}]))
    expected = plan.train_draws(5, 2, 23, 4, augment=job.recipe.data.augment)
    whole, rest = job.draws(2), job.draws(2, skip=4)
    assert [batch.tolist() for batch in whole.batches] == [batch.tolist() for batch in expected.batches]
    assert [batch.tolist() for batch in rest.batches] == [batch.tolist() for batch in expected.batches[4:]]
    for found in (whole, rest):
        np.testing.assert_array_equal(found.augment[0], expected.augment[0])


def test_its_clock_knows_the_epoch_of_a_step():
    job = bound(recipe(loop__accumulate=2))
    assert [job.clock(step) for step in (1, 3, 4, 9)] == [
        Clock(1, 1, 3, 3),
        Clock(1, 3, 3, 3),
        Clock(2, 4, 3, 3),
        Clock(3, 9, 3, 3),
    ]
    assert job.clock(4, reductions=2) == Clock(2, 4, 3, 3, 2)


def test_a_step_is_handed_what_the_plan_decides():
    job = bound(
        recipe(model=DROPOUT, seed=3, schedule={"name": "multistep", "milestones": [1], "gamma": 0.5})
    )
    step = job.step_input(job.clock(7), labels([1, 2, 3, 4]))
    keys = plan.dropout_keys(3, 7, job.model)
    assert step == StepInput(7, 0.05, None, keys, share=1 / 4, first_rows=(0,))
    assert len(keys) == 1


def test_a_schedule_moves_the_momentum():
    job = bound(recipe(schedule={"name": "one_cycle"}))
    assert job.step_input(job.clock(1), labels([1])).momentum == 0.95


SHARES = {
    "a mean": ({}, 1 / 5),
    "a sum": ({"reduction": "sum"}, 1.0),
    "a mean by class": ({"class_weights": WEIGHTS}, 1 / (0.5 + 2.0 + 2.0)),
    "a sum by class": ({"class_weights": WEIGHTS, "reduction": "sum"}, 1.0),
    "a mean of squares": ({"name": "mse"}, 1 / 5),
}


@pytest.mark.parametrize(("loss", "share"), SHARES.values(), ids=SHARES)
def test_a_share_is_one_over_what_all_samples_of_the_step_weigh(loss, share):
    job = bound(recipe(loss={"name": "cross_entropy", **loss}))
    several = job.step_input(job.clock(1), labels([0, 1], [1, 2, 2]))
    assert several.share == share
    assert several.first_rows == (0, 2)
    assert job.step_input(job.clock(1), labels([0, 1, 1, 2, 2])).share == share


def test_where_no_sample_weighs_anything_there_is_no_mean():
    weightless = {"name": "cross_entropy", "class_weights": WEIGHTS}
    job = bound(recipe(loss=weightless))
    assert job.weight(np.array([2, 2])) == 0
    assert math.isnan(job.step_input(job.clock(1), labels([2], [2, 2])).share)
    summed = bound(recipe(loss={**weightless, "reduction": "sum"}))
    assert summed.step_input(summed.clock(1), labels([2])).share == 1


def test_the_facts_of_the_data_are_those_that_are_given():
    known = data.info(small().data.dataset)
    assert small_job().data == known
    job = small().bind(replace(known, train=10, class_names=tuple("abcd"), mean=(0.25,), std=(0.5,)))
    assert (job.samples, job.model.output_shape) == (10, (4,))
    assert (job.normalize.mean, job.normalize.std) == ((0.25,), (0.5,))
    assert job.recipe == replace(small(), data=replace(small().data, normalize=job.normalize))


def test_figures_of_the_recipes_own_stay():
    given_figures = {"mean": [0.1], "std": [0.2]}
    job = small_job(data__normalize=given_figures)
    assert job.normalize == job.recipe.data.normalize == small(data__normalize=given_figures).data.normalize


def test_what_can_not_be_run_over_the_data_names_the_file():
    chosen = small(data__batch_size=2000, data__drop_last=True)
    with pytest.raises(
        RecipeError, match=r"^small.toml: data.batch_size = 2000: .* no batch is left of 1437"
    ):
        chosen.bind(where="small.toml")


def test_it_travels_to_another_process():
    job = bound(recipe(model=DROPOUT, loss={"name": "cross_entropy", "class_weights": WEIGHTS}))
    again = pickle.loads(pickle.dumps(job))  # noqa: S301 - written here
    assert again == job
    assert again.step_input(again.clock(2), labels([1])) == job.step_input(job.clock(2), labels([1]))

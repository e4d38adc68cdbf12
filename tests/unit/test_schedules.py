"""Learning rates and checkpoints by epoch and step; values by hand, as PyTorch documents its schedulers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recipe_values import small

from xtrain.recipe import Loop
from xtrain.schedules import Constant, MultiStep


def test_constant_leaves_the_lr_alone():
    assert [Constant().factor(epoch) for epoch in (1, 2, 100)] == [1.0, 1.0, 1.0]


def test_multistep_is_that_of_the_documentation():
    # torch.optim.lr_scheduler.MultiStepLR(milestones=[30, 80], gamma=0.1) with lr 0.05:
    # 0.05 if epoch < 30, 0.005 if 30 <= epoch < 80, 0.0005 if epoch >= 80, epochs counted from 0.
    recipe = small(optimizer__lr=0.05, schedule={"name": "multistep", "milestones": [30, 80], "gamma": 0.1})
    lrs = [recipe.lr(epoch + 1) for epoch in range(100)]
    expected = [0.05] * 30 + [0.005] * 50 + [0.0005] * 20
    assert lrs == pytest.approx(expected, rel=1e-12)


@given(milestones=st.lists(st.integers(1, 20), max_size=5), gamma=st.floats(0.1, 2), epoch=st.integers(1, 30))
def test_each_milestone_counts_once_for_each_time_it_is_given(milestones, gamma, epoch):
    factor = 1.0
    for finished in range(1, epoch):  # torch multiplies by gamma ** (how often this epoch is a milestone)
        factor *= gamma ** milestones.count(finished)
    schedule = MultiStep(milestones=tuple(milestones), gamma=gamma)
    assert schedule.factor(epoch) == pytest.approx(factor, rel=1e-12)


def due(every, per_epoch=5, epochs=4):
    """The steps after which a checkpoint belongs."""
    loop = Loop(epochs=epochs, checkpoint_every=every)
    steps = range(1, epochs * per_epoch + 1)
    return [
        step
        for step in steps
        if loop.checkpoint_due(step, (step - 1) // per_epoch + 1, epoch_ends=step % per_epoch == 0)
    ]


@pytest.mark.parametrize(
    ("every", "steps"),
    [
        ("1 epoch", [5, 10, 15, 20]),
        ("2 epochs", [10, 20]),
        ("3 epochs", [15]),
        (1, list(range(1, 21))),
        (4, [4, 8, 12, 16, 20]),
        (7, [7, 14]),
        (100, []),
    ],
)
def test_checkpoints_are_due(every, steps):
    assert due(every) == steps

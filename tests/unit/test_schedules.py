"""Learning rates and checkpoints by epoch and step; values by hand, as PyTorch documents its schedulers."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recipe_values import small_job

from xtrain.recipe import Loop
from xtrain.recipe.schedules import Clock, Constant, Exponential, MultiStep, OneCycle, Step, Warmup


def at(epoch, step=None, steps_per_epoch=10, epochs=100, **state):
    return Clock(
        epoch, (epoch - 1) * steps_per_epoch + 1 if step is None else step, steps_per_epoch, epochs, **state
    )


def test_constant_leaves_the_lr_alone():
    assert [Constant().lr(0.3, at(epoch)) for epoch in (1, 2, 100)] == [0.3, 0.3, 0.3]
    assert Constant().momentum(at(1)) is None


def test_multistep_is_that_of_the_documentation():
    # torch.optim.lr_scheduler.MultiStepLR(milestones=[30, 80], gamma=0.1) with lr 0.05:
    # 0.05 if epoch < 30, 0.005 if 30 <= epoch < 80, 0.0005 if epoch >= 80, epochs counted from 0.
    job = small_job(optimizer__lr=0.05, schedule={"name": "multistep", "milestones": [30, 80], "gamma": 0.1})
    lrs = [job.lr(at(epoch + 1)) for epoch in range(100)]
    expected = [0.05] * 30 + [0.005] * 50 + [0.0005] * 20
    assert lrs == pytest.approx(expected, rel=1e-12)


@given(milestones=st.lists(st.integers(1, 20), max_size=5), gamma=st.floats(0.1, 2), epoch=st.integers(1, 30))
def test_each_milestone_counts_once_for_each_time_it_is_given(milestones, gamma, epoch):
    factor = 1.0
    for finished in range(1, epoch):  # torch multiplies by gamma ** (how often this epoch is a milestone)
        factor *= gamma ** milestones.count(finished)
    schedule = MultiStep(milestones=tuple(milestones), gamma=gamma)
    assert schedule.lr(1.0, at(epoch)) == pytest.approx(factor, rel=1e-12)


def test_a_warm_up_multiplies_and_does_not_shift():
    warm = Warmup(length=20, start=0.1)
    schedule = MultiStep(milestones=(1, 3), gamma=0.5, warmup=warm)
    plain = MultiStep(milestones=(1, 3), gamma=0.5)
    for step in range(1, 60):
        clock = at((step - 1) // 10 + 1, step)
        share = 0.1 + 0.9 * min((step - 1) / 20, 1)
        assert schedule.lr(2.0, clock) == pytest.approx(plain.lr(2.0, clock) * share, rel=1e-12)
    assert Warmup(length="2 epochs", start=0.1).factor(at(2, 11)) == warm.factor(at(2, 11))
    falling = [Warmup(length=4, kind="exponential", start=1e-4).factor(at(1, step)) for step in range(1, 7)]
    assert falling == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1, 1])


def test_by_step_counts_steps():
    by_epoch, by_step = (Step(step_size=3, gamma=0.5, by=by) for by in ("epoch", "step"))
    assert by_epoch.lr(1.0, at(4, 31)) == 0.5
    assert by_step.lr(1.0, at(4, 31)) == 0.5**10


def test_a_short_one_cycle_does_not_divide_by_zero():
    for epochs in (1, 2, 3):
        for step in range(1, epochs + 1):
            clock = Clock(step, step, 1, epochs)
            assert 0 < OneCycle(pct_start=0.5).lr(1.0, clock) <= 1


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


@pytest.mark.parametrize(
    "schedule",
    [
        Exponential(gamma=1e300),
        Step(step_size=1, gamma=1e300),
        MultiStep(milestones=(1, 2), gamma=1e300),
    ],
)
def test_a_power_beyond_all_numbers_is_infinite(schedule):
    assert schedule.lr(0.1, Clock(1, 1, 1, 9)) == 0.1
    assert schedule.lr(0.1, Clock(9, 9, 1, 9)) == math.inf

"""Learning rates and momentums against torch.optim.lr_scheduler, step by step."""

import pytest
import torch

from xtrain.recipe.schedules import (
    Clock,
    Cosine,
    Exponential,
    MultiStep,
    OneCycle,
    Plateau,
    Reductions,
    Step,
    Warmup,
)

schedulers = torch.optim.lr_scheduler
EPOCHS, PER_EPOCH, LR = 12, 7, 0.3


def clocks():
    return [
        Clock(epoch, (epoch - 1) * PER_EPOCH + step, PER_EPOCH, EPOCHS)
        for epoch in range(1, EPOCHS + 1)
        for step in range(1, PER_EPOCH + 1)
    ]


def optimizer():
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR, momentum=0.9)


def by_torch(make, by):
    """What torch's scheduler gives before each step; it moves after each step or each epoch."""
    holder = optimizer()
    scheduler = make(holder)
    found = []
    for clock in clocks():
        found.append((holder.param_groups[0]["lr"], holder.param_groups[0]["momentum"]))
        holder.step()
        if by == "step" or clock.step % PER_EPOCH == 0:
            scheduler.step()
    return found


STEPS = EPOCHS * PER_EPOCH
CASES = {
    "multistep": (MultiStep(milestones=(2, 5)), lambda o: schedulers.MultiStepLR(o, [2, 5])),
    "multistep by step": (
        MultiStep(milestones=(9, 40), gamma=0.5, by="step"),
        lambda o: schedulers.MultiStepLR(o, [9, 40], gamma=0.5),
    ),
    "step": (Step(step_size=3, gamma=0.2), lambda o: schedulers.StepLR(o, 3, gamma=0.2)),
    "exponential": (Exponential(gamma=0.8), lambda o: schedulers.ExponentialLR(o, 0.8)),
    "cosine": (Cosine(min_lr=0.01), lambda o: schedulers.CosineAnnealingLR(o, EPOCHS, eta_min=0.01)),
    "cosine by step": (
        Cosine(period=50, by="step"),
        lambda o: schedulers.CosineAnnealingLR(o, 50),
    ),
    "warm-up": (
        Step(step_size=10**6, by="step", warmup=Warmup(length=20, start=0.25)),
        lambda o: schedulers.LinearLR(o, start_factor=0.25, total_iters=20),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_learning_rates(name):
    schedule, make = CASES[name]
    expected = [lr for lr, _ in by_torch(make, schedule.by)]
    # torch's closed and chained forms differ by roundings of float64, over some dozens of products.
    assert [schedule.lr(LR, clock) for clock in clocks()] == pytest.approx(expected, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("anneal", ["cos", "linear"])
@pytest.mark.parametrize("pct_start", [0.1, 0.3, 0.77])
def test_one_cycle(anneal, pct_start):
    expected = by_torch(
        lambda o: schedulers.OneCycleLR(o, LR, STEPS + 1, pct_start=pct_start, anneal_strategy=anneal), "step"
    )
    schedule = OneCycle(anneal=anneal, pct_start=pct_start)
    # torch's scheduler is asked once more than there are steps, so it gets one step more.
    found = [schedule.lr(LR, _longer(clock)) for clock in clocks()]
    assert found == pytest.approx([lr for lr, _ in expected], rel=1e-12)
    momentums = [schedule.momentum(_longer(clock)) for clock in clocks()]
    assert momentums == pytest.approx([momentum for _, momentum in expected], rel=1e-12)


def _longer(clock):
    return Clock(1, clock.step, STEPS + 1, 1)


LOSSES = [1.0, 0.9, 0.9, 0.95, 0.8999, 0.7, 0.71, 0.72, 0.73, 0.74, 0.75, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2]


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
@pytest.mark.parametrize("cooldown", [0, 2])
def test_plateau(mode, threshold_mode, cooldown):
    shared = {"factor": 0.5, "patience": 1, "threshold": 1e-3, "threshold_mode": threshold_mode}
    schedule = Plateau(monitor="test_loss", mode=mode, cooldown=cooldown, min_lr=0.05, **shared)
    holder, state = optimizer(), Reductions()
    scheduler = schedulers.ReduceLROnPlateau(holder, mode=mode, cooldown=cooldown, min_lr=0.05, **shared)
    for epoch, loss in enumerate(LOSSES, start=1):
        value = loss if mode == "min" else -loss + 2
        scheduler.step(value)
        schedule.update(state, {"test_loss": value})
        lr = schedule.lr(LR, Clock(epoch + 1, epoch + 1, 1, 100, state.made))
        assert lr == pytest.approx(holder.param_groups[0]["lr"], rel=1e-12)
    assert state.made > 1

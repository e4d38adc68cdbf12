"""PyTorch in fp16, on the CPU, which a user is refused for its speed: scaling beside torch.amp.GradScaler."""

import numpy as np
import pytest
import torch
from xtrain_torch.backend import TorchBackend
from xtrain_torch.scaling import LossScaling

from xtrain.conformance.cases import MLP, split, step_input
from xtrain.conformance.compare import assert_same
from xtrain.conformance.parts import batch, build
from xtrain.spec import SGD

BAD = {3: np.inf, 4: np.nan, 2100: -np.inf}
"""Gradients that are not finite, by step."""


def test_the_rule_is_grad_scalers() -> None:
    """Scale, gradients and updates left out, over 4,300 steps: two halvings, an overflow later, doublings."""
    weight = torch.ones(3)
    optimizer, theirs, ours = torch.optim.SGD([weight], lr=0.5), torch.amp.GradScaler("cpu"), LossScaling()
    moved = 0
    for step in range(1, 4301):
        scale = float(theirs.scale(torch.ones(())))
        assert ours.scale == scale
        scaled = torch.full((3,), BAD.get(step, 0.25)) * scale
        weight.grad, mine, before = scaled.clone(), scaled.clone(), weight.clone()
        theirs.step(optimizer)
        theirs.update()
        finite = ours.undo([mine])
        assert finite == bool((weight != before).all())
        assert not finite or (mine == 0.25).all()
        moved += finite
    assert moved == 4300 - len(BAD)
    assert ours.scale == 2.0**16 / 4 * 2 / 2 * 2


def test_small_gradients_keep_their_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What float16 has no digits for, below 2**-14, it has with the scale."""
    data, step = split(MLP), step_input(MLP)
    wide, narrow = (TorchBackend("cpu", 1, precision) for precision in ("float32", "fp16"))
    state = build(wide, MLP).model.state()
    state["fc2.weight"] = state["fc2.weight"] * np.float32(2e-3)  # what reaches fc1 is as much smaller

    def gradient(under: TorchBackend) -> np.ndarray:
        return build(under, MLP, state=state).loop.gradients(batch(under, data), step)["fc1.weight"]

    wanted = gradient(wide)
    scaled = np.abs(gradient(narrow) - wanted).max() / np.abs(wanted).max()
    monkeypatch.setattr("xtrain.spec.scaling._FIRST", 1.0)
    bare = np.abs(gradient(narrow) - wanted).max() / np.abs(wanted).max()
    assert scaled < 2.0**-9 < bare, (scaled, bare)


def test_a_resume_goes_on_with_the_scale() -> None:
    narrow = TorchBackend("cpu", 1, "fp16")
    first, second = build(narrow, MLP, SGD(lr=0.1)), build(narrow, MLP, SGD(lr=0.1))
    overflow = {name: np.full_like(value, np.inf) for name, value in first.model.state().items()}
    first.optimizer.step(overflow, step_input(MLP))
    second.optimizer.load(first.optimizer.state())
    data = batch(narrow, split(MLP))
    for number in (1, 2):
        for parts in (first, second):
            parts.loop.train_step([data], step_input(MLP, number))
    assert float(second.optimizer.state()["loss_scale"]) == pytest.approx(2.0**15)
    assert_same(second.model.state(), first.model.state())
    assert_same(second.optimizer.state(), first.optimizer.state())

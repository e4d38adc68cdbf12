"""Narrower precisions: a backend computes in them, or says why it does not."""

from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from xtrain import plugins
from xtrain.conformance.cases import CONVOLUTIONAL, MLP, split, step_input
from xtrain.conformance.compare import assert_same
from xtrain.conformance.parts import batch, build, mean_losses
from xtrain.conformance.plugin import Narrow
from xtrain.errors import BackendError
from xtrain.protocols import Backend
from xtrain.spec import Adam, ModelSpec, Precision

DIGITS = {"tf32": 10, "bf16": 7, "fp16": 10}
"""Bits after the point of what is multiplied."""

both_models = pytest.mark.parametrize("model", [MLP, CONVOLUTIONAL], ids=lambda model: model.name)


@pytest.mark.parametrize("precision", DIGITS)
def test_a_precision_is_offered_or_refused_with_its_reason(precision: Precision, backend: Backend) -> None:
    """What is offered has rows of its own below, once for each precision."""
    found = plugins.load(backend.name, backend.device, precision=precision)
    if precision in found.probe().precisions:
        plugins.require_precision(found, precision)
        return
    why = found.probe().notes["precision"]
    with pytest.raises(BackendError, match=precision) as refused:
        plugins.require_precision(found, precision)
    assert why in refused.value.problem


def losses(backend: Backend, model: ModelSpec) -> NDArray[np.float64]:
    """Of five steps under Adam, and of an evaluation after them."""
    return mean_losses(build(backend, model, Adam(lr=0.01)), backend, model, steps=5, evaluated=True)


def test_float32_is_never_refused(backend: Backend) -> None:
    plugins.require_precision(backend, "float32")
    assert set(get_args(Precision)) == {"float32", *DIGITS}


@pytest.mark.thorough
@both_models
def test_losses_follow_float32_from_afar(model: ModelSpec, narrow: Narrow, backend: Backend) -> None:
    """As far away as roundings of that precision take a net of some layers, and not to the bit."""
    wanted, found = losses(backend, model), losses(narrow.backend, model)
    np.testing.assert_allclose(found, wanted, rtol=8 * 2.0 ** -DIGITS[narrow.precision])
    assert (found != wanted).any(), "the precision was ignored"


@both_models
def test_gradients_are_those_of_the_loss(model: ModelSpec, narrow: Narrow, backend: Backend) -> None:
    """Whatever they were scaled by on their way."""
    data, step = split(model), step_input(model)
    wanted, found = (
        build(under, model).loop.gradients(batch(under, data), step) for under in (backend, narrow.backend)
    )
    for name, gradient in wanted.items():
        bound = 16 * 2.0 ** -DIGITS[narrow.precision] * np.abs(gradient).max()
        np.testing.assert_allclose(found[name], gradient, rtol=0, atol=bound, err_msg=name)


def test_weights_stay_float32_and_a_resume_is_exact(narrow: Narrow) -> None:
    data, under = split(MLP), narrow.backend
    left_alone = build(under, MLP, Adam())
    left_alone.loop.train_step([batch(under, data, 9)], step_input(MLP, 1, sizes=(9,)))
    state = left_alone.model.state()
    assert {value.dtype for value in state.values()} == {np.dtype(np.float32)}
    resumed = build(under, MLP, Adam(), state)
    resumed.optimizer.load(left_alone.optimizer.state())
    for number in (2, 3):
        for parts in (left_alone, resumed):
            parts.loop.train_step([batch(under, data, 5, 9)], step_input(MLP, number, sizes=(5,)))
    assert_same(resumed.model.state(), left_alone.model.state())
    assert_same(resumed.optimizer.state(), left_alone.optimizer.state())


def test_what_is_not_finite_moves_nothing_in_fp16(narrow: Narrow) -> None:
    """A gradient that is not finite halves the scale; the other precisions have no scale."""
    parts, before = (build(narrow.backend, MLP, Adam()) for _ in range(2))
    start = before.optimizer.state()
    assert ("loss_scale" in start) == (narrow.precision == "fp16")
    gradients = {name: np.full_like(value, np.inf) for name, value in before.model.state().items()}
    parts.optimizer.step(gradients, step_input(MLP))
    after = parts.optimizer.state()
    assert after["step"] == (0 if narrow.precision == "fp16" else 1)
    if narrow.precision == "fp16":
        assert_same(parts.model.state(), before.model.state())
        assert after["loss_scale"] == start["loss_scale"] / 2

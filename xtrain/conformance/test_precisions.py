"""Narrower precisions: a backend computes in them, or says why it does not."""

from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from xtrain import plugins
from xtrain.conformance.cases import CONVOLUTIONAL, MLP, split, step_input
from xtrain.conformance.compare import assert_same
from xtrain.conformance.parts import batch, build, mean_losses
from xtrain.errors import BackendError
from xtrain.protocols import Backend
from xtrain.spec import Adam, ModelSpec, Precision

DIGITS = {"tf32": 10, "bf16": 7, "fp16": 10}
"""Bits after the point of what is multiplied."""

every_narrow = pytest.mark.parametrize("precision", DIGITS)
both_models = pytest.mark.parametrize("model", [MLP, CONVOLUTIONAL], ids=lambda model: model.name)


def narrowed(backend: Backend, precision: Precision) -> Backend | None:
    """The same backend in a precision; None where it says that it has not got it, and why."""
    found = plugins.load(backend.name, backend.device, precision=precision)
    if precision in found.probe().precisions:
        return found
    assert found.probe().notes["precision"]
    with pytest.raises(BackendError, match=precision) as refused:
        plugins.require_precision(found, precision)
    assert found.probe().notes["precision"] in refused.value.problem
    return None


def losses(backend: Backend, model: ModelSpec) -> NDArray[np.float64]:
    """Of five steps under Adam, and of an evaluation after them."""
    return mean_losses(build(backend, model, Adam(lr=0.01)), backend, model, steps=5, evaluated=True)


def test_float32_is_never_refused(backend: Backend) -> None:
    plugins.require_precision(backend, "float32")
    assert set(get_args(Precision)) == {"float32", *DIGITS}


@every_narrow
@both_models
def test_losses_follow_float32_from_afar(model: ModelSpec, precision: Precision, backend: Backend) -> None:
    """As far away as roundings of that precision take a net of some layers, and not to the bit."""
    narrow = narrowed(backend, precision)
    if narrow:
        wanted, found = losses(backend, model), losses(narrow, model)
        np.testing.assert_allclose(found, wanted, rtol=8 * 2.0 ** -DIGITS[precision])
        assert (found != wanted).any(), "the precision was ignored"


@every_narrow
@both_models
def test_gradients_are_those_of_the_loss(model: ModelSpec, precision: Precision, backend: Backend) -> None:
    """Whatever they were scaled by on their way."""
    narrow = narrowed(backend, precision)
    if narrow:
        data, step = split(model), step_input(model)
        wanted, found = (
            build(under, model).loop.gradients(batch(under, data), step) for under in (backend, narrow)
        )
        for name, gradient in wanted.items():
            bound = 16 * 2.0 ** -DIGITS[precision] * np.abs(gradient).max()
            np.testing.assert_allclose(found[name], gradient, rtol=0, atol=bound, err_msg=name)


@every_narrow
def test_weights_stay_float32_and_a_resume_is_exact(precision: Precision, backend: Backend) -> None:
    narrow = narrowed(backend, precision)
    if narrow:
        data = split(MLP)
        left_alone = build(narrow, MLP, Adam())
        left_alone.loop.train_step([batch(narrow, data, 9)], step_input(MLP, 1))
        state = left_alone.model.state()
        assert {value.dtype for value in state.values()} == {np.dtype(np.float32)}
        resumed = build(narrow, MLP, Adam(), state)
        resumed.optimizer.load(left_alone.optimizer.state())
        for number in (2, 3):
            for parts in (left_alone, resumed):
                parts.loop.train_step([batch(narrow, data, 5, 9)], step_input(MLP, number))
        assert_same(resumed.model.state(), left_alone.model.state())
        assert_same(resumed.optimizer.state(), left_alone.optimizer.state())


def test_an_overflow_leaves_an_update_out(backend: Backend) -> None:
    """In fp16 a gradient that is not finite halves the scale, and moves nothing."""
    narrow = narrowed(backend, "fp16")
    if narrow:
        parts, before = build(narrow, MLP, Adam()), build(narrow, MLP, Adam())
        gradients = {name: np.full_like(value, np.inf) for name, value in before.model.state().items()}
        parts.optimizer.step(gradients, step_input(MLP))
        assert_same(parts.model.state(), before.model.state())
        after, start = parts.optimizer.state(), before.optimizer.state()
        assert after["loss_scale"] == start["loss_scale"] / 2
        assert after["step"] == 0

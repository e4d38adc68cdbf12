"""Gradients beside the slope of the loss itself, which needs neither autograd nor another implementation.

Only of a backend that computes in float64: in float32 the difference of two losses has no digits left.
"""

from dataclasses import replace

import numpy as np
import pytest

from xtrain import plan
from xtrain.conformance import computed
from xtrain.conformance.cases import LAYERS, LOSS, LOSSES, Case, split, step_input
from xtrain.conformance.parts import batch, build
from xtrain.protocols import Backend
from xtrain.spec import SGD, Array, LossSpec, ModelSpec, Split, State, StepInput

# (L(w + h v) - L(w - h v)) / 2h is off by h^2 from what the Taylor series leaves out, and by eps / h from
# rounding; the two are alike at the cube root of eps. Each is then eps^(2/3), 4e-11, times what belongs to
# the net. Over all cases the largest error is 3e-11 of the larger of loss and gradient; a wrong gradient is
# off by 1e-4 and more.
H = np.finfo(np.float64).eps ** (1 / 3)
SHARE = 1e-8


@pytest.mark.usefixtures("float64_alone")
@pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.name)
def test_layer_gradient_is_the_slope(case: Case, backend: Backend) -> None:
    """By every parameter of the net, so also through the layer under test."""
    compare(backend, case.model, LOSS, split(case.model), step_input(case.model))


@pytest.mark.usefixtures("float64_alone")
@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())
def test_loss_gradient_is_the_slope(loss: LossSpec, backend: Backend) -> None:
    compare(backend, computed.loss_model(loss), loss, computed.LOSS_DATA, computed.loss_step(loss))


def compare(backend: Backend, model: ModelSpec, loss: LossSpec, data: Split, step: StepInput) -> None:
    """Along a random direction in each tensor, in which every element of its gradient counts."""
    state = plan.initial_state(0, model)
    gradients = build(backend, model, state=state, loss=loss).loop.gradients(batch(backend, data), step)

    def reduced(moved: State) -> float:
        """The loss of a training step, whose update changes nothing because its learning rate is 0."""
        loop = build(backend, model, SGD(lr=0.0), moved, loss).loop
        (figures,) = loop.read([loop.train_step([batch(backend, data)], replace(step, lr=0.0))])
        return figures.loss_sum * step.share

    for name in model.trainable:
        value = state[name].astype(np.float64)
        along = direction(name, value)
        up, down = (reduced(state | {name: value + sign * H * along}) for sign in (1, -1))
        slope, claimed = (up - down) / (2 * H), float((gradients[name] * along).sum())
        bound = SHARE * max(abs(up), float(np.linalg.norm(gradients[name])))
        assert abs(slope - claimed) <= bound, f"{name}: the loss has the slope {slope}, not {claimed}"


def direction(name: str, value: Array) -> Array:
    """A direction of length 1 in the space of a parameter."""
    along = plan.words(0, f"direction/{name}", value.size).astype(np.float64) / 2**63 - 1
    unit: Array = (along / np.linalg.norm(along)).reshape(value.shape)
    return unit

"""Every loss: figures, gradients, and several batches as one."""

import numpy as np
import pytest

from xtrain.conformance import computed
from xtrain.conformance.cases import LOSSES
from xtrain.conformance.compare import against_noise
from xtrain.conformance.noise import EPSILON
from xtrain.conformance.parts import batch, build
from xtrain.protocols import Backend
from xtrain.spec import SGD, LossSpec, State

DATA, model, step = computed.LOSS_DATA, computed.loss_model, computed.loss_step
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())


def start(loss: LossSpec, seed: int = 0) -> State:
    return computed.start(model(loss), seed)


@every_loss
def test_figures(loss: LossSpec, backend: Backend, reference: Backend) -> None:
    found, wanted = (
        build(under, model(loss), state=start(loss), loss=loss).loop for under in (backend, reference)
    )
    ours, theirs = (
        loop.read([loop.eval_step(batch(under, DATA)), loop.train_step([batch(under, DATA)], step(loss))])
        for under, loop in ((backend, found), (reference, wanted))
    )
    for one, other in zip(ours, theirs, strict=True):
        assert one.correct == other.correct
        # Each of some dozens of terms, and their sums, may be one rounding off.
        assert one.loss_sum == pytest.approx(other.loss_sum, rel=64 * EPSILON)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients(name: str, backend: Backend, reference: Backend) -> None:
    def gradients(under: Backend, seed: int = 0) -> State:
        values = computed.loss_values(under, name, seed)
        return {name: values[name] for name in model(LOSSES[name]).trainable}

    against_noise(lambda seed: gradients(reference, seed), gradients(backend))


@every_loss
def test_several_batches_are_one(loss: LossSpec, backend: Backend, reference: Backend) -> None:
    """Uneven ones, whose labels weigh differently: the mean is over all of them."""

    def update(under: Backend, sizes: tuple[int, ...], seed: int = 0) -> State:
        parts = build(under, model(loss), SGD(lr=0.05), start(loss, seed), loss)
        firsts = np.cumsum((0, *sizes))
        batches = [batch(under, DATA, n, int(f)) for n, f in zip(sizes, firsts, strict=False)]
        parts.loop.train_step(batches, step(loss, sizes))
        return parts.model.state()

    against_noise(lambda seed: update(reference, (23,), seed), update(backend, (11, 2, 10)))


@every_loss
def test_every_key_is_explained(loss: LossSpec, backend: Backend) -> None:
    assert backend.explain(model(loss), loss, SGD())["loss"]


@pytest.mark.needs("optimizers")
def test_an_explanation_follows_the_loss(backend: Backend) -> None:
    terms = {name: backend.explain(model(loss), loss, SGD())["loss"] for name, loss in LOSSES.items()}
    assert len(set(terms.values())) == len(terms), terms

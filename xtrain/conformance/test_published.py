"""Every layer, loss and optimizer beside PyTorch's own values in float64, which `published.json` has.

The other rows compare a backend with the NumPy reference. These hold the reference itself to somebody
else's implementation, so that a mistake in it is noticed.
"""

from collections.abc import Callable

import pytest

from xtrain.conformance import computed
from xtrain.conformance.cases import LAYERS, LOSSES, Case
from xtrain.conformance.published import assert_published
from xtrain.protocols import Backend
from xtrain.spec import State

DRAWS = (1, 2, 3)


def compare(case: str, values: Callable[[Backend, int], State], backend: Backend, reference: Backend) -> None:
    """A backend's values with the published ones; the reference gives the noise floor of float32."""
    wide = computed.in_float64(backend)
    floor = [] if wide else [values(reference, seed) for seed in (0, *DRAWS)]
    assert_published(case, values(backend, 0), floor)


@pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.name)
def test_layer_is_pytorchs(case: Case, backend: Backend, reference: Backend) -> None:
    """Logits in evaluation and training, running statistics after it, gradient by each parameter."""

    def values(under: Backend, seed: int) -> State:
        return computed.layer_outputs(under, case, seed) | computed.layer_gradients(under, case, seed)

    compare(f"layers/{case.name}", values, backend, reference)


@pytest.mark.parametrize("name", LOSSES)
def test_loss_is_pytorchs(name: str, backend: Backend, reference: Backend) -> None:
    """The loss as it is reduced, the correct predictions, gradient by each parameter."""

    def values(under: Backend, seed: int) -> State:
        return computed.loss_values(under, name, seed)

    compare(f"losses/{name}", values, backend, reference)


@pytest.mark.parametrize("name", computed.UPDATES)
def test_optimizer_is_pytorchs(name: str, backend: Backend, reference: Backend) -> None:
    """Parameters and buffers after ten steps on fed gradients of all sizes."""

    def values(under: Backend, seed: int) -> State:
        return computed.ten_steps(under, name, seed)

    compare(f"optimizers/{name}", values, backend, reference)

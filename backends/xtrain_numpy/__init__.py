"""The NumPy reference as a backend: float64, gradients by hand, no framework."""

from xtrain.plugins import hookimpl
from xtrain.protocols import Backend


@hookimpl
def xtrain_backend(device: str, threads: int | None) -> Backend:
    """Make the backend for one device."""
    from xtrain_numpy.backend import NumpyBackend

    return NumpyBackend(device, threads)

"""JAX as a backend. Importing this package imports no framework."""

from xtrain.plugins import hookimpl
from xtrain.protocols import Backend
from xtrain.spec import Precision


@hookimpl
def xtrain_backend(device: str, threads: int | None, precision: Precision) -> Backend:
    """Make the backend for one device and one precision."""
    from xtrain_jax.backend import JaxBackend

    return JaxBackend(device, threads, precision)

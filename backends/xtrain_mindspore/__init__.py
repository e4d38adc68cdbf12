"""MindSpore as a backend. Importing this package imports no framework."""

from xtrain.plugins import hookimpl
from xtrain.protocols import Backend


@hookimpl
def xtrain_backend(device: str, threads: int | None) -> Backend:
    """Make the backend for one device."""
    from xtrain_mindspore.backend import MindSporeBackend

    return MindSporeBackend(device, threads)

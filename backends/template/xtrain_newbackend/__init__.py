"""NewBackend as a backend of xtrain. Importing this loads no framework."""

from xtrain.plugins import hookimpl
from xtrain.protocols import Backend


@hookimpl
def xtrain_backend(device: str, threads: int | None) -> Backend:
    """Make the backend for one device."""
    from xtrain_newbackend.backend import NewBackendBackend

    return NewBackendBackend(device, threads)

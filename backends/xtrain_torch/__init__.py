"""PyTorch as a backend. Importing this package imports no framework."""

from xtrain.plugins import hookimpl
from xtrain.protocols import Backend


@hookimpl
def xtrain_backend(device: str, threads: int | None) -> Backend:
    """Make the backend for one device."""
    from xtrain_torch.backend import TorchBackend

    return TorchBackend(device, threads)

"""PyTorch as a backend. Importing this package imports no framework."""

from xtrain.plugins import hookimpl
from xtrain.protocols import Backend, Files


@hookimpl
def xtrain_backend(device: str, threads: int | None) -> Backend:
    """Make the backend for one device."""
    from xtrain_torch.backend import TorchBackend

    return TorchBackend(device, threads)


@hookimpl
def xtrain_files() -> Files:
    """The framework's own files."""
    from xtrain_torch.files import TorchFiles

    return TorchFiles()

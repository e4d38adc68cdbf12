"""PyTorch as a backend. Importing this package imports no framework."""

from xtrain.plugins import hookimpl
from xtrain.protocols import Backend, Files
from xtrain.spec import Precision


@hookimpl
def xtrain_backend(device: str, threads: int | None, precision: Precision) -> Backend:
    """Make the backend for one device and one precision."""
    from xtrain_torch.backend import TorchBackend

    return TorchBackend(device, threads, precision)


@hookimpl
def xtrain_files() -> Files:
    """The framework's own files."""
    from xtrain_torch.files import TorchFiles

    return TorchFiles()

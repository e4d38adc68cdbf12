"""MindSpore as a backend. Importing this package imports no framework."""

from xtrain.plugins import hookimpl
from xtrain.protocols import Backend, Files


@hookimpl
def xtrain_backend(device: str, threads: int | None) -> Backend:
    """Make the backend for one device."""
    from xtrain_mindspore.backend import MindSporeBackend

    return MindSporeBackend(device, threads)


@hookimpl
def xtrain_files() -> Files:
    """The framework's own files."""
    from xtrain_mindspore.files import MindSporeFiles

    return MindSporeFiles()

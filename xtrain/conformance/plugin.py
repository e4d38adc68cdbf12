"""Options and fixtures of the suite: the backend under test, and the reference it is compared with."""

import gc
import os
from collections.abc import Iterator

import pytest

from xtrain import plugins
from xtrain.conformance.cases import CONVOLUTIONAL
from xtrain.errors import XtrainError
from xtrain.protocols import Backend

REFERENCE = "numpy"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("xtrain")
    group.addoption("--backend", help="name of the backend under test")
    group.addoption("--device", default="auto", help="its device")
    group.addoption("--threads", type=int, default=None, help="threads it may use")


def pytest_configure(config: pytest.Config) -> None:
    """Set the backend's environment before anything loads its framework; a missing one is a failure."""
    name = config.getoption("--backend")
    if not name:
        raise pytest.UsageError(f"give --backend NAME: {', '.join(plugins.names())}")
    try:
        backend = plugins.load(name, config.getoption("--device"), config.getoption("--threads"))
        plugins.require(backend)
    except XtrainError as error:
        raise pytest.UsageError(str(error)) from None
    os.environ.update(backend.environment(CONVOLUTIONAL, config.getoption("--threads")))
    config.stash[_BACKEND] = backend


_BACKEND = pytest.StashKey[Backend]()


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    backend = request.config.stash[_BACKEND]
    backend.probe()
    gc.freeze()  # a framework that collects garbage before it compiles need not go over itself each time
    yield backend
    gc.unfreeze()


@pytest.fixture(scope="session")
def reference() -> Backend:
    return plugins.load(REFERENCE)

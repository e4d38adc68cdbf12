"""Options and fixtures of the suite: the backend under test, and the reference it is compared with."""

import gc
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

import pytest

from xtrain import plugins
from xtrain.conformance.cases import CONVOLUTIONAL
from xtrain.errors import XtrainError
from xtrain.protocols import Backend
from xtrain.spec import Precision

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
    config.stash[BACKEND] = backend


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A row for each narrow precision that the backend offers; of what it does not offer there is none."""
    if "narrow" in metafunc.fixturenames:
        offered = metafunc.config.stash[BACKEND].probe().precisions
        metafunc.parametrize("narrow", [name for name in NARROW if name in offered], indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out the rows of no precision at all, which pytest makes where none is offered."""

    def stays(item: pytest.Item) -> bool:
        params = getattr(item, "callspec").params if hasattr(item, "callspec") else {}  # noqa: B009
        return params.get("narrow") in (None, *NARROW)

    items[:] = filter(stays, items)


@dataclass(frozen=True)
class Narrow:
    """The backend in a precision that it offers besides float32."""

    precision: Precision
    backend: Backend


NARROW = tuple(name for name in get_args(Precision) if name != "float32")
BACKEND = pytest.StashKey[Backend]()


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    backend = request.config.stash[BACKEND]
    backend.probe()
    gc.freeze()  # a framework that collects garbage before it compiles need not go over itself each time
    yield backend
    gc.unfreeze()


@pytest.fixture(scope="session")
def narrow(request: pytest.FixtureRequest, backend: Backend) -> Narrow:
    """One of the precisions that are offered; see `pytest_generate_tests`."""
    return Narrow(request.param, plugins.load(backend.name, backend.device, precision=request.param))


@pytest.fixture(scope="session")
def reference() -> Backend:
    return plugins.load(REFERENCE)

"""Rows that not every backend has: of one that computes in float64, of one that promises asynchronous steps.

Such a row asks for a fixture of that name. It is left out, not skipped, where it says nothing.
"""

from collections.abc import Callable

import pytest

from xtrain.conformance import computed
from xtrain.conformance.plugin import BACKEND
from xtrain.protocols import Backend


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the rows that say nothing of this backend."""
    asked = {name for item in items for name in getattr(item, "fixturenames", ())} & CONDITIONS.keys()
    if not asked:
        return
    absent = {name for name in asked if not CONDITIONS[name](config.stash[BACKEND])}
    items[:] = [item for item in items if absent.isdisjoint(getattr(item, "fixturenames", ()))]


CONDITIONS: dict[str, Callable[[Backend], bool]] = {
    "float64_alone": computed.in_float64,
    "asynchronous_alone": lambda backend: backend.probe().asynchronous,
}


@pytest.fixture(scope="session")
def float64_alone(backend: Backend) -> None:
    """For rows of a backend that computes in float64."""


@pytest.fixture(scope="session")
def asynchronous_alone(backend: Backend) -> None:
    """For rows of a backend whose steps go on while Python does, as `Probe.asynchronous` promises."""

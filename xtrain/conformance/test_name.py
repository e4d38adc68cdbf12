"""The name under which a backend is offered."""

import pytest

from xtrain.protocols import Backend


def test_the_entry_point_is_named_after_the_backend(backend: Backend, pytestconfig: pytest.Config) -> None:
    """Runs are recorded under the backend's `name`, and are resumed under the entry point of that name."""
    offered = pytestconfig.getoption("--backend")
    assert backend.name == offered, f"offered as {offered!r}, it calls itself {backend.name!r}"

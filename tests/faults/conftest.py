"""The world that runs are killed, starved and damaged in."""

import platformdirs
import pytest
from world import World, quick


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A world without a run, in a process that has loaded what a training needs."""
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / "cache" / name)
    quick(monkeypatch)
    (tmp_path / "world").mkdir()
    made = World.new(tmp_path / "world")
    assert made.train().code == 0
    made.back_to(None)
    return made

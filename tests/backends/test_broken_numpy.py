"""NumPy's own suite notices a broken NumPy backend, though the reference beside it is as broken."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from broken_numpy import BROKEN
from test_mutants import crashes

FOLDER = Path(__file__).parent


@pytest.mark.parametrize("name", BROKEN)
def test_broken_numpy_is_noticed(name: str, tmp_path: Path) -> None:
    row, _ = BROKEN[name]
    done = suite(row, tmp_path, XTRAIN_BROKEN=name)
    assert done.returncode == 1, f"{row} did not notice it:\n{done.stdout[-3000:]}{done.stderr[-2000:]}"
    assert not crashes(done.stdout), f"{row} broke instead of noticing it:\n{done.stdout[-3000:]}"


def test_numpy_as_it_is_passes_with_the_plugin(tmp_path: Path) -> None:
    """What is noticed above is the mistake, not the plugin."""
    done = suite("pytorchs or slope", tmp_path)
    assert done.returncode == 0, done.stdout[-3000:]


def suite(rows: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Some rows of NumPy's own suite in a process in which the plugin may have broken it."""
    path = os.pathsep.join([str(FOLDER), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "xtrain.conformance", "--backend", "numpy"]
    return subprocess.run(
        [*command, "-p", "broken_numpy", "-k", rows, "--tb=line"],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, **variables},
        check=False,
    )

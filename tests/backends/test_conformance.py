"""The conformance suite under every backend, one process each: frameworks must not share one."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from xtrain import plugins
from xtrain.system.isolated import isolated

BACKENDS = ("numpy", "torch", "paddle", "mindspore", "jax")
ROWS = 620
"""How many rows the suite has for every backend: to be changed with it, so that none is lost unseen."""
ROWS_OF_FLOAT64 = 40
"""How many more for a backend that computes in float64."""
ROWS_OF_A_PRECISION = 6
"""How many more for each precision besides float32."""


@pytest.mark.parametrize("backend", BACKENDS)
def test_backend_passes_the_suite(backend: str, tmp_path: Path) -> None:
    """All of it: a framework that is missing fails here, and nothing may be skipped."""
    command = [sys.executable, "-m", "xtrain.conformance", "--backend", backend, "--tb=short"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    summary = done.stdout.strip().splitlines()[-1]
    passed = re.fullmatch(r"(\d+) passed in .*", summary)
    assert passed, f"not all passed: {summary}"
    precisions = set(isolated(plugins.probe, backend).precisions)
    rows = ROWS + ROWS_OF_A_PRECISION * len(precisions - {"float32", "float64"})
    assert int(passed[1]) == rows + (ROWS_OF_FLOAT64 if "float64" in precisions else 0)


def test_a_backend_whose_framework_is_missing_fails(tmp_path: Path) -> None:
    """As a process sees it in which the framework can't be found."""
    hide = (
        "import sys, importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'torch' else find(name, *rest)\n"
        "from xtrain.conformance import main\n"
        "sys.exit(main(['--backend', 'torch']))"
    )
    done = subprocess.run([sys.executable, "-c", hide], capture_output=True, text=True, check=False)
    assert done.returncode not in (0, 5)
    assert "torch is not installed" in done.stderr

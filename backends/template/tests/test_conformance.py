"""The suite that every backend must pass, in a process of its own."""

import subprocess
import sys


def test_nothing_fails() -> None:
    """Refusals are counted apart: they are no failures."""
    command = [sys.executable, "-m", "xtrain.conformance", "--backend", "newbackend"]
    assert subprocess.run(command, check=False).returncode == 0

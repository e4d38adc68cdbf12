"""The same recipe, the same seed: the first losses of every pair of backends, on real data.

The bounds of the first ten steps are the project's promise. From there on rounding grows as it does in any
ReLU net, so step 50 is held to what a backend differs from itself when its weights move by one unit in the
last place.
"""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

RECORD = Path(__file__).parent / "record.py"
BACKENDS = ("numpy", "torch", "paddle", "mindspore", "jax")
DROPOUTS = (0.0, 0.25)
BOUNDS = {"mnist_mlp": 1e-5, "cifar10_lenet": 5e-5, "cifar10_simplecnn": 5e-5}
every_recipe = pytest.mark.parametrize(("recipe", "bound"), BOUNDS.items(), ids=BOUNDS)


def record(recipe: str, steps: int, data: Path, *options: str) -> dict[str, np.ndarray]:
    """Losses [dropouts, seeds, runs, steps] by backend; with `--nudged` a second run has nudged weights."""
    recorded = {}
    for backend in BACKENDS:
        command = [sys.executable, RECORD, recipe, backend, str(steps), "5", *map(str, DROPOUTS), *options]
        environment = {**os.environ, "XTRAIN_DATA": str(data)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        recorded[backend] = np.array(json.loads(done.stdout.splitlines()[-1]))
    return recorded


def apart(a: np.ndarray, b: np.ndarray) -> float:
    """Largest relative difference along the way [seeds, steps], the median over the seeds."""
    return float(np.median((np.abs(a - b) / np.abs(b)).max(axis=1)))


@every_recipe
def test_first_ten_losses(recipe: str, bound: float, real_data: Path) -> None:
    losses = record(recipe, 10, real_data)
    for place, dropout in enumerate(DROPOUTS):
        for one, other in itertools.combinations(BACKENDS, 2):
            worst = apart(losses[one][place, :, 0], losses[other][place, :, 0])
            assert worst < bound, f"dropout {dropout}, {one} and {other}: {worst:.2e}"


@pytest.mark.slow
@every_recipe
def test_fifty_losses_stay_within_the_noise(recipe: str, bound: float, real_data: Path) -> None:
    losses = record(recipe, 50, real_data, "--nudged")
    for place, dropout in enumerate(DROPOUTS):
        runs = {backend: found[place, :, 0] for backend, found in losses.items()}
        nudged = {backend: found[place, :, 1] for backend, found in losses.items()}
        noise = max(apart(nudged[backend], runs[backend]) for backend in BACKENDS)
        print(f"\n{recipe}, dropout {dropout}: noise {noise:.1e}")  # noqa: T201 - shown with -s
        for one, other in itertools.combinations(BACKENDS, 2):
            ten = apart(runs[one][:, :10], runs[other][:, :10])
            fifty = apart(runs[one], runs[other])
            print(f"  {one:9} {other:9} first ten {ten:.1e}, fifty {fifty:.1e}")  # noqa: T201 - likewise
            assert ten < bound
            assert fifty <= 5 * noise, f"{one} and {other}: {fifty:.2e}, noise {noise:.2e}"

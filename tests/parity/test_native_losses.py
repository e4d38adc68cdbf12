"""Each backend's losses beside those of the same net in the framework's own layers, loss and optimizer.

The loops of benchmarks/native start from the same weights and go over the same batches. Their losses may
differ by five times what the backend differs from itself, moved by one unit in the last place. Over the first
steps, where that is little, a rate 0.1 % higher is found out.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from xtrain import plan
from xtrain.recipe import Recipe, load_recipe

RECORD = Path(__file__).parent / "record.py"
NATIVE = Path(__file__).parents[2] / "benchmarks" / "native"
STEPS, FIRST = 200, 20
LEAST = 2 * float(np.finfo(np.float32).eps)  # two units in the last place: sums of 64 losses in another order
CAP = {"ONEDNN_MAX_CPU_ISA": "AVX2"}  # without it MindSpore's convolutions take minutes
every_backend = pytest.mark.parametrize("backend", ["torch", "paddle", "mindspore"])


def run(*command: object, data: Path) -> str:
    environment = {**os.environ, **CAP, "XTRAIN_DATA": str(data)}
    done = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()[-1]


def native(recipe: Recipe, backend: str, samples: int, data: Path, folder: Path) -> np.ndarray:
    """Losses [steps] of the loop that was written by hand."""
    weights, order = folder / "weights.npz", folder / "order.npy"
    np.savez(weights, **plan.initial_state(recipe.seed, recipe.bind().model))
    np.save(order, plan.order(recipe.seed, 1, samples)[None])
    start = ("--weights", weights, "--order", order, "--steps", STEPS, "--losses", folder / "losses.json")
    script = NATIVE / f"{backend}_native.py"
    run(script, recipe.name, "--style", "resident", "--data", data, *start, data=data)
    return np.array(json.loads((folder / "losses.json").read_text()))


def recorded(recipe: Recipe, backend: str, data: Path, folder: Path, *options: str) -> np.ndarray:
    """Losses [runs, steps] of xtrain; with `--nudged` a second run has nudged weights."""
    path = folder / "recipe.toml"
    path.write_text(recipe.to_toml())
    return np.array(json.loads(run(RECORD, path, backend, STEPS, 1, 0.0, *options, data=data)))[0, 0]


def apart(a: np.ndarray, b: np.ndarray) -> float:
    """Largest relative difference along the way."""
    return float((np.abs(a - b) / np.abs(b)).max())


def compare(name: str, backend: str, samples: int, data: Path, folder: Path) -> None:
    recipe = load_recipe(name)
    by_hand = native(recipe, backend, samples, data, folder)
    ours, nudged = recorded(recipe, backend, data, folder, "--nudged")
    other = load_recipe(name, {"optimizer.lr": 1.001 * recipe.optimizer.lr})
    (mutant,) = recorded(other, backend, data, folder)
    assert len(by_hand) == STEPS
    for steps in (FIRST, STEPS):
        noise = max(apart(nudged[:steps], ours[:steps]), LEAST)
        found, bound = apart(ours[:steps], by_hand[:steps]), 5 * noise
        print(f"\n{name} {backend}, {steps} steps: {found:.1e}, bound {bound:.1e}")  # noqa: T201 - shown with -s
        assert found <= bound
        assert steps > FIRST or apart(mutant[:steps], by_hand[:steps]) > bound


@every_backend
def test_mlp_under_sgd(backend: str, real_data: Path, tmp_path: Path) -> None:
    compare("mnist_mlp", backend, 60_000, real_data, tmp_path)


@pytest.mark.parametrize("backend", ["torch", "paddle"])
def test_convolutions_under_adam(backend: str, real_data: Path, tmp_path: Path) -> None:
    """Not MindSpore, whose own nn.Adam has eps outside the bias correction: 9e-5 off by step 10."""
    compare("cifar10_lenet", backend, 50_000, real_data, tmp_path)

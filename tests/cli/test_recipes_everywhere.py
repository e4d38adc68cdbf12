"""Every shipped recipe starts, steps, evaluates, checkpoints and resumes under every framework."""

import subprocess
import sys
from pathlib import Path

import pytest

from xtrain import load_recipe
from xtrain.recipe import shipped
from xtrain.runs.run import Run

SCRIPT = Path(__file__).with_name("small_data.py")
# Batches that divide the small training sets: a last batch of one has no statistics.
SMALL = ("--set", "data.batch_size=10", "--set", "data.eval_batch_size=10", "--log-every", 1, "--threads", 2)
QUICK = {"digits_mlp", "digits_cnn", "mnist_mlp", "mnist_lstm", "cifar10_lenet", "svhn_resnet"}


def xtrain(folder, *arguments):
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def cases():
    for recipe in shipped():
        for backend in ("torch", "paddle", "mindspore"):
            slow = () if recipe in QUICK and backend == "torch" else (pytest.mark.slow,)
            yield pytest.param(recipe, backend, marks=slow, id=f"{recipe}-{backend}")


@pytest.mark.parametrize(("recipe", "backend"), list(cases()))
def test_it_trains_and_goes_on(recipe, backend, tmp_path):
    if load_recipe(recipe).init_from:
        xtrain(
            tmp_path,
            "run",
            "svhn_resnet",
            "--backend",
            backend,
            *SMALL,
            "--epochs",
            1,
            "--out",
            "runs/svhn_resnet",
        )
    xtrain(tmp_path, "run", recipe, "--backend", backend, *SMALL, "--epochs", 1, "--out", "run")
    run = Run(tmp_path / "run")
    first = run.checkpoint("last").name
    assert [record["epoch"] for record in run.epochs] == [1]
    xtrain(tmp_path, "run", "--resume", "run", "--epochs", 2)
    assert [record["epoch"] for record in run.epochs] == [1, 2]
    assert run.checkpoint("last").name != first
    assert {session["exit"] for session in run.sessions} == {"finished"}
    assert "test accuracy" in xtrain(tmp_path, "eval", "run", "--checkpoint", "best")

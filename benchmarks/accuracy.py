"""Test accuracies of xtrain and of the hand-written loops, from the same weights over the same batches."""

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import trials

from xtrain import data, plan
from xtrain.bench.native import TASKS
from xtrain.recipe import Recipe, load_recipe

# Accuracy is compared here, not time: without the cap MindSpore's native CIFAR loops take hours.
_VARIABLES = {"mindspore": {"ONEDNN_MAX_CPU_ISA": "AVX2"}}


def start(recipe: Recipe, folder: Path, samples: int) -> list[str]:
    """The recipe's initial weights and every epoch's order, as arguments of a native loop."""
    weights, order = folder / "weights.npz", folder / "order.npy"
    np.savez(weights, **plan.initial_state(recipe.seed, recipe.bind().model))
    epochs = range(1, recipe.loop.epochs + 1)
    np.save(order, np.stack([plan.order(recipe.seed, epoch, samples) for epoch in epochs]))
    return ["--weights", str(weights), "--order", str(order)]


def measure(recipe: Recipe, options: argparse.Namespace, path: Path) -> list[dict[str, Any]]:
    """One trial of xtrain and of the native loop for each backend; `path` is written after each."""
    samples = len(data.load(recipe.data.dataset, options.data).train_labels)
    epochs, rows = recipe.loop.epochs, []
    with tempfile.TemporaryDirectory() as folder:
        common = start(recipe, Path(folder), samples)
        for backend in options.backends:
            for contestant in ("native", "xtrain"):
                if contestant == "xtrain":
                    trial = trials.xtrain(backend, options.task, options.data, epochs)
                elif trials.has_native(backend):
                    variables = _VARIABLES.get(backend, {})
                    trial = trials.native(
                        backend,
                        options.task,
                        "resident",
                        options.data,
                        epochs,
                        start=common,
                        variables=variables,
                    )
                else:
                    continue
                rows.append({"backend": backend, "contestant": contestant, **asdict(trial)})
                print(f"{backend:12}{contestant:10}{trial.test_accuracy:.4f}", flush=True)
                about = {"task": options.task, "seed": recipe.seed, "epochs": epochs}
                trials.write(path, {"environment": trials.environment(), **about, "trials": rows})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=TASKS)
    trials.add_arguments(parser)
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    options = parser.parse_args()
    recipe = load_recipe(options.task, {"loop.epochs": options.epochs} if options.epochs else {})
    path = trials.result_path(options.results, options.name, f"accuracy-{options.task}")
    print(f"{options.task}, {recipe.loop.epochs} epochs, seed {recipe.seed}: test accuracy", flush=True)
    accuracies = [row["test_accuracy"] for row in measure(recipe, options, path)]
    print(f"furthest apart: {100 * (max(accuracies) - min(accuracies)):.2f} points\nin {path}")


if __name__ == "__main__":
    main()

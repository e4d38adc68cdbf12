"""How far test accuracies lie apart between backends, and between a backend and itself, rounding moved.

Each backend trains a recipe from several seeds, and from each once more with its initial weights moved by
one unit in the last place. Where backends differ no more than each does from itself, the difference is
rounding's, grown over some thousand steps.
"""

import argparse
from dataclasses import asdict
from itertools import product
from typing import Any

import trials

from xtrain.bench.native import TASKS
from xtrain.recipe import load_recipe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=TASKS)
    trials.add_arguments(parser)
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 0")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--threads", type=int, help="of each training; default: the backend's choice")
    options = parser.parse_args()
    epochs = options.epochs or load_recipe(options.task).loop.epochs
    path = trials.result_path(options.results, options.name, f"spread-{options.task}")
    about = {"task": options.task, "epochs": epochs, "threads": options.threads}
    rows: list[dict[str, Any]] = []
    for seed, backend, nudged in product(range(options.seeds), options.backends, (False, True)):
        trial = trials.xtrain(
            backend, options.task, options.data, epochs, seed=seed, nudged=nudged, threads=options.threads
        )
        rows.append({"backend": backend, "seed": seed, "nudged": nudged, **asdict(trial)})
        name = f"{backend}{' nudged' if nudged else ''}"
        print(f"seed {seed}  {name:18}{trial.test_accuracy:.4f}", flush=True)
        trials.write(path, {"environment": trials.environment(), **about, "trials": rows})
    print(f"{summary(rows)}\nin {path}")


def summary(rows: list[dict[str, Any]]) -> str:
    """For each backend, mean accuracy over all its trials and the mean of |nudged - not nudged|."""
    lines = []
    for backend in dict.fromkeys(row["backend"] for row in rows):
        found = {(r["seed"], r["nudged"]): r["test_accuracy"] for r in rows if r["backend"] == backend}
        seeds = sorted({seed for seed, _ in found})
        mean = sum(found.values()) / len(found)
        moved = [100 * abs(found[seed, True] - found[seed, False]) for seed in seeds]
        lines.append(
            f"{backend:12}mean {mean:.4f}; nudged, it moves by "
            f"{sum(moved) / len(moved):.2f} points on average, {max(moved):.2f} at most"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()

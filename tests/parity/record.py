"""`record.py RECIPE BACKEND STEPS SEEDS DROPOUT... [--nudged]`: the first losses of each seed, as JSON.

For each rate of dropout and each seed the list of the run itself, and with `--nudged` a second one, of the
same backend with the initial weights moved by one unit in the last place. One process per backend: frameworks
must not share one.
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np

from xtrain import data, plan
from xtrain.protocols import Backend
from xtrain.recipe import Job, load_recipe
from xtrain.spec import State
from xtrain.training.assembly import Options, build, load_data, open_backend


def main(name: str, backend: str, steps: int, seeds: int, dropouts: list[float], nudged: bool) -> None:
    """Print losses [dropouts, seeds, 1 or 2, steps]."""
    job = load_recipe(name).bind()
    opened, arrays = (
        open_backend(Options(backend), job.model),
        load_data(job, Path(os.environ["XTRAIN_DATA"])),
    )
    found = []
    for dropout in dropouts:
        changes = [{"model.dropout": dropout, "seed": seed} for seed in range(seeds)]
        jobs = [load_recipe(name, change).bind() for change in changes]
        found.append([_runs(opened, job, arrays, steps, nudged) for job in jobs])
    print(json.dumps(found))  # noqa: T201 - the result


def _runs(backend: Backend, job: Job, arrays: data.Arrays, steps: int, nudged: bool) -> list[list[float]]:
    initial = plan.initial_state(job.recipe.seed, job.model)
    starts = (initial, _one_place_up(initial)) if nudged else (initial,)
    return [_losses(backend, job, arrays, start, steps) for start in starts]


def _losses(backend: Backend, job: Job, arrays: data.Arrays, start: State, steps: int) -> list[float]:
    parts, draws = build(backend, job, arrays, start), job.draws(epoch=1)
    labels = [parts.train.labels[indices] for indices in draws.batches[:steps]]
    handles = []
    for number, batch in zip(range(1, len(labels) + 1), parts.train.dataset.batches(draws), strict=False):
        step = job.step_input(job.clock(number), [labels[number - 1]])
        handles.append(parts.loop.train_step([batch], step))
    found = parts.loop.read(handles)
    return [metrics.loss_sum / job.weight(given) for metrics, given in zip(found, labels, strict=True)]


def _one_place_up(state: State) -> State:
    return {name: np.nextafter(value, np.float32(np.inf)) for name, value in state.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for given, kind in (("name", str), ("backend", str), ("steps", int), ("seeds", int)):
        parser.add_argument(given, type=kind)
    parser.add_argument("dropouts", type=float, nargs="+")
    parser.add_argument("--nudged", action="store_true")
    main(**vars(parser.parse_args()))

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
from xtrain.recipe import Recipe, load_recipe
from xtrain.spec import State, StepInput
from xtrain.training import session
from xtrain.training.session import Options


def main(name: str, backend: str, steps: int, seeds: int, dropouts: list[float], nudged: bool) -> None:
    """Print losses [dropouts, seeds, 1 or 2, steps]."""
    opened = session.open_backend(Options(backend), load_recipe(name).model_spec)
    arrays = data.load(load_recipe(name).data, Path(os.environ["XTRAIN_DATA"]))
    found = []
    for dropout in dropouts:
        recipes = [load_recipe(name, {"model.dropout": dropout, "seed": seed}) for seed in range(seeds)]
        found.append([_runs(opened, recipe, arrays, steps, nudged) for recipe in recipes])
    print(json.dumps(found))  # noqa: T201 - the result


def _runs(
    backend: Backend, recipe: Recipe, arrays: data.Arrays, steps: int, nudged: bool
) -> list[list[float]]:
    initial = plan.initial_state(recipe.seed, recipe.model_spec)
    starts = (initial, _one_place_up(initial)) if nudged else (initial,)
    return [_losses(backend, recipe, arrays, start, steps) for start in starts]


def _losses(backend: Backend, recipe: Recipe, arrays: data.Arrays, start: State, steps: int) -> list[float]:
    parts = session.build(backend, recipe, arrays, start)
    draws = plan.train_draws(recipe.seed, 1, len(parts.train), recipe.data.batch_size)
    handles = []
    for number, batch in zip(range(1, steps + 1), parts.train.batches(draws), strict=False):
        keys = plan.dropout_keys(recipe.seed, number, recipe.model_spec)
        handles.append(parts.loop.train_step([batch], StepInput(number, recipe.optimizer.lr, keys)))
    return [metrics.loss_sum / metrics.count for metrics in parts.loop.read(handles)]


def _one_place_up(state: State) -> State:
    return {name: np.nextafter(value, np.float32(np.inf)) for name, value in state.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for given, kind in (("name", str), ("backend", str), ("steps", int), ("seeds", int)):
        parser.add_argument(given, type=kind)
    parser.add_argument("dropouts", type=float, nargs="+")
    parser.add_argument("--nudged", action="store_true")
    main(**vars(parser.parse_args()))

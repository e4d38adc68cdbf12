"""`python record.py RECIPE BACKEND STEPS SEEDS DROPOUT...`: the first losses of each seed, as JSON.

For each rate of dropout and each seed two lists: of the run itself, and of the same backend with the initial
weights moved by one unit in the last place. One process per backend: frameworks must not share one.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np

from xtrain import data, plan, session
from xtrain.protocols import Backend
from xtrain.recipe import Recipe, load_recipe
from xtrain.session import Options
from xtrain.spec import State, StepInput


def main(name: str, backend: str, steps: int, seeds: int, dropouts: list[float]) -> None:
    """Print losses [dropouts, seeds, 2, steps]."""
    opened = session.open_backend(Options(backend), load_recipe(name).model_spec)
    arrays = data.load(load_recipe(name).data, Path(os.environ["XTRAIN_DATA"]))
    found = []
    for dropout in dropouts:
        recipes = [load_recipe(name, {"model.dropout": dropout, "seed": seed}) for seed in range(seeds)]
        found.append([_pair(opened, recipe, arrays, steps) for recipe in recipes])
    print(json.dumps(found))  # noqa: T201 - the result


def _pair(backend: Backend, recipe: Recipe, arrays: data.Arrays, steps: int) -> list[list[float]]:
    initial = plan.initial_state(recipe.seed, recipe.model_spec)
    return [_losses(backend, recipe, arrays, start, steps) for start in (initial, _one_place_up(initial))]


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
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), list(map(float, sys.argv[5:])))

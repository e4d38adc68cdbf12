"""`python record.py RECIPE BACKEND STEPS SEEDS DROPOUT`: the first losses of each seed, as JSON.

For each seed two lists: of the run itself, and of the same backend with the initial weights moved by one
unit in the last place. One process per backend: frameworks must not share one.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np

from xtrain import data, plan, session
from xtrain.recipe import Recipe, load_recipe
from xtrain.session import Options
from xtrain.spec import State, StepInput


def main(name: str, backend: str, steps: int, seeds: int, dropout: float) -> None:
    """Print `[[losses, losses of nudged weights], ...]`, one pair for each seed."""
    overrides = {"model.dropout": dropout} if dropout else {}
    recipes = [load_recipe(name, {**overrides, "seed": seed}) for seed in range(seeds)]
    opened = session.open_backend(Options(backend), recipes[0].model_spec)
    arrays = data.load(recipes[0].data.name, Path(os.environ["XTRAIN_DATA"]))
    pairs = []
    for recipe in recipes:
        initial = plan.initial_state(recipe.seed, recipe.model_spec)
        starts = (initial, _one_place_up(initial))
        pairs.append([_losses(opened, recipe, arrays, start, steps) for start in starts])
    print(json.dumps(pairs))  # noqa: T201 - the result


def _losses(backend: object, recipe: Recipe, arrays: data.Arrays, start: State, steps: int) -> list[float]:
    parts = session.build(backend, recipe, arrays, None)  # type: ignore[arg-type]  # a Backend
    parts.model.load(start)
    draws = plan.train_draws(recipe.seed, 1, len(parts.train), recipe.data.batch_size)
    handles = []
    for number, batch in zip(range(1, steps + 1), parts.train.batches(draws), strict=False):
        keys = plan.dropout_keys(recipe.seed, number, recipe.model_spec)
        handles.append(parts.loop.train_step([batch], StepInput(number, recipe.lr(1), keys)))
    return [metrics.loss_sum / metrics.count for metrics in parts.loop.read(handles)]


def _one_place_up(state: State) -> State:
    return {name: np.nextafter(value, np.float32(np.inf)) for name, value in state.items()}


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))

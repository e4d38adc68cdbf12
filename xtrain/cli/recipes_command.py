"""`xtrain recipes`: the shipped ones."""

import click

from xtrain.cli.tables import show
from xtrain.recipe import load_recipe, shipped


@click.command("recipes")
def command() -> int:
    """List the recipes that `xtrain run NAME` knows."""
    rows = []
    for name, path in shipped().items():
        job = load_recipe(path).bind(where=path)
        recipe = job.recipe
        model = f"{recipe.model.name}, {job.model.parameters:,} parameters"
        rows.append((name, recipe.data.name, model, recipe.optimizer.name, str(recipe.loop.epochs)))
    show("recipes", ("name", "data", "model", "optimizer", "epochs"), rows)
    return 0

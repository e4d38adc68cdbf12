"""`xtrain check`: the resolved recipe, and each backend's own terms for it."""

import click

from xtrain import plugins
from xtrain.cli.options import read_recipe, recipe_options
from xtrain.errors import UnsupportedError


@click.command("check")
@click.argument("recipe")
@recipe_options
def command(recipe: str, settings: tuple[str, ...], seed: int | None) -> int:
    """Validate RECIPE and print it with every default explicit.

    What each key becomes under each backend follows as comments, so the output is itself a recipe.
    Sections data, schedule and loop, and the seed, mean the same under every backend.
    """
    job = read_recipe(recipe, settings, seed)
    click.echo(job.recipe.to_toml())
    for backend in plugins.loadable():
        note = "" if plugins.installed(backend) else f" (not installed: {backend.install})"
        click.echo(f"# under {backend.name}{note}")
        try:
            terms = backend.explain(job.model, job.recipe.loss, job.recipe.optimizer)
        except UnsupportedError as error:
            terms = {"not supported": "; ".join(filter(None, (error.problem, error.remedy)))}
        width = max(map(len, terms), default=0)
        for key, term in terms.items():
            click.echo(f"#   {key:{width}}  {term}")
    return 0

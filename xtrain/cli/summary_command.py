"""`xtrain summary`: the model of a recipe, layer by layer."""

from pathlib import Path

import click

from xtrain.cli.options import read_recipe, recipe_options
from xtrain.cli.tables import show
from xtrain.errors import UsageError
from xtrain.recipe import Job
from xtrain.runs.folder import is_run
from xtrain.runs.run import Run
from xtrain.spec import ModelSpec, Node
from xtrain.spec.tensors import format_shape


@click.command("summary")
@click.argument("recipe")
@click.option(
    "--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Samples to count for."
)
@recipe_options
def command(recipe: str, batch: int, settings: tuple[str, ...], seed: int | None) -> int:
    """Layers of the model of RECIPE, or of a run: output shapes, parameters, multiply-adds, memory.

    Counted as torchinfo does: activations are the outputs of layers with parameters and their gradients;
    parameters are those that are trained; all in float32, 1 MB = 10^6 bytes. Shapes are of one sample.
    """
    model = _job(recipe, settings, seed).model
    rows = [
        (node.path, getattr(node.layer, "op", ""), format_shape(node.output_shape), *_figures(node, batch))
        for node in model.walk()
    ]
    rows.append(("total", "", "", *_figures(model, batch)))
    show(
        f"{model.name}, input {format_shape(model.input_shape)}, batch of {batch}",
        ("layer", "kind", "output", "parameters", "multiply-adds", "activations MB", "parameters MB"),
        rows,
        right=(3, 4, 5, 6),
    )
    return 0


def _job(source: str, settings: tuple[str, ...], seed: int | None) -> Job:
    if not is_run(Path(source)):
        return read_recipe(source, settings, seed)
    if settings or seed is not None:
        raise UsageError("--set and --seed change a recipe, not a run", where=source)
    return Run(source).job


def _figures(counted: Node | ModelSpec, batch: int) -> tuple[str, str, str, str]:
    return (
        f"{counted.parameters:,}",
        f"{batch * counted.multiply_adds:,}",
        f"{batch * counted.activation_memory / 1e6:,.3f}",
        f"{counted.parameter_memory / 1e6:,.3f}",
    )

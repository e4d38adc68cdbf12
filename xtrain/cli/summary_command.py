"""`xtrain summary`: the model of a recipe, layer by layer."""

import click

from xtrain.cli.options import read_recipe, recipe_options
from xtrain.cli.tables import show
from xtrain.spec.layers import format_shape


@click.command("summary")
@click.argument("recipe")
@recipe_options
def command(recipe: str, settings: tuple[str, ...], seed: int | None) -> int:
    """Layers of RECIPE's model with output shapes, parameters and multiply-adds of one sample."""
    model = read_recipe(recipe, settings, seed).model_spec
    rows = [
        (
            node.path,
            getattr(node.layer, "op", ""),
            format_shape(node.output_shape),
            f"{sum(tensor.size for tensor in node.tensors.values() if tensor.trainable):,}",
            f"{node.layer.multiply_adds(node.input_shape):,}",
        )
        for node in model.walk()
    ]
    rows.append(("total", "", "", f"{model.parameters:,}", f"{model.multiply_adds:,}"))
    show(
        f"{model.name}, input {format_shape(model.input_shape)}",
        ("layer", "kind", "output", "parameters", "multiply-adds"),
        rows,
        right=(3, 4),
    )
    return 0

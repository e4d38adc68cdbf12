"""`xtrain convert`: a model in another framework's files."""

from pathlib import Path

import click

from xtrain.cli.options import overrides, recipe_options
from xtrain.errors import UsageError
from xtrain.export.weights import convert
from xtrain.recipe import load_recipe


@click.command("convert")
@click.argument("source", metavar="SRC", type=click.Path(path_type=Path))
@click.argument("target", metavar="DST", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--recipe", help="Whose model and optimizer SRC holds; a run has its own.")
@click.option("--weights-only", is_flag=True, help="Leave the optimizer state out.")
@click.option("--force", is_flag=True, help="Replace DST.")
@recipe_options
def command(
    source: Path,
    target: Path,
    recipe: str | None,
    weights_only: bool,
    force: bool,
    settings: tuple[str, ...],
    seed: int | None,
) -> int:
    """Write the model in SRC as DST, with the state of its optimizer.

    Formats go by suffix: .pth and .pt (PyTorch), .pdparams with .pdopt beside it (Paddle), .ckpt
    (MindSpore), .safetensors with .optimizer.safetensors beside it; and .onnx, as DST alone: the net as
    evaluation runs it. SRC may be a run or one of its checkpoint folders too. Nothing that a file
    contains is run.
    """
    if recipe is None and (settings or seed is not None):
        raise UsageError("--set and --seed change a recipe: give --recipe too")
    chosen = None if recipe is None else load_recipe(recipe, overrides(settings, seed))
    made = convert(source, target, chosen, weights_only=weights_only, force=force)
    state = "no optimizer state" if made.step is None else f"optimizer state of step {made.step}"
    rounded = ", rounded from float64 to float32" if made.rounded else ""
    click.echo(f"{', '.join(map(str, made.paths))}: {made.tensors} tensors, {state}{rounded}")
    return 0

"""What is well-formed but can't be run."""

from xtrain import data
from xtrain.errors import RecipeError, suggest
from xtrain.recipe.recipe import Recipe
from xtrain.spec import BatchNorm2d, ModelSpec, RandomCrop
from xtrain.spec.layers import ShapeError


def check(recipe: Recipe, where: object) -> None:
    """`RecipeError` where the recipe, which came from `where`, can't be run."""
    name = recipe.data.name
    if name not in data.names():
        raise RecipeError(f"data.name = {name!r}: unknown; {suggest(name, data.names())}", where=where)
    about = data.info(name)
    channels, height, width = about.input_shape
    for key in ("mean", "std"):
        given = getattr(recipe.normalize, key)
        if len(given) != channels:
            raise RecipeError(
                f"data.normalize.{key} = {list(given)}: {about.name} has {channels} channel(s), give as many",
                where=where,
            )
    for place, step in enumerate(recipe.data.augment):
        if isinstance(step, RandomCrop) and (step.size, step.size) != (height, width):
            raise RecipeError(
                f"data.augment[{place}].size = {step.size}: must be {height}, the size of the test images",
                where=where,
            )
    try:
        model = recipe.model_spec
    except ShapeError as error:
        raise RecipeError(f"model.name = {recipe.model.name!r}: {error}", where=where) from None
    _check_batches(recipe, model, about.train, where)


def _check_batches(recipe: Recipe, model: ModelSpec, samples: int, where: object) -> None:
    size, drop_last = recipe.data.batch_size, recipe.data.drop_last
    if drop_last and samples < size:
        raise RecipeError(
            f"data.batch_size = {size}: with drop_last no batch is left of {samples} samples", where=where
        )
    smallest = size if drop_last else samples % size or size
    for node in model.walk():
        if isinstance(node.layer, BatchNorm2d) and smallest == 1 and node.output_shape[1:] == (1, 1):
            raise RecipeError(
                f"data.batch_size = {size}: layer {node.path} would see a batch with one value per channel, "
                "which has no variance; change batch_size or set drop_last",
                where=where,
            )

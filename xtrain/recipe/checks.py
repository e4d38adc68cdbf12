"""What is well-formed but can't be run."""

from xtrain import data
from xtrain.errors import RecipeError, suggest
from xtrain.recipe import limits
from xtrain.recipe.data import Data
from xtrain.recipe.recipe import Recipe
from xtrain.spec import BatchNorm2d, ModelSpec
from xtrain.spec.tensors import ShapeError

_KEYS = {"path": data.OWN, "image_size": ("image_folder",), "fit": ("image_folder",), "extra": ("svhn",)}
"""Keys of `[data]` that only some data sets have."""


def check(recipe: Recipe, where: object) -> None:
    """`RecipeError` where the recipe, which came from `where`, can't be run."""
    _check_keys(recipe.data, where)
    about = data.info(recipe.data)
    _check_data(recipe.data, about, where)
    limits.check_images(recipe, about, where)
    try:
        model = recipe.model_spec
    except ShapeError as error:
        raise RecipeError(f"model.name = {recipe.model.name!r}: {error}", where=where) from None
    limits.check_model(recipe, model, about, where)
    _check_batches(recipe, model, recipe.data.train_samples(about), where)


def _check_keys(section: Data, where: object) -> None:
    """Refuse keys that mean nothing for the data set; they would be ignored."""
    allowed = [*data.names(), *data.OWN]
    if section.name not in allowed:
        raise RecipeError(
            f"data.name = {section.name!r}: unknown; {suggest(section.name, allowed)}", where=where
        )
    if section.name in data.OWN and not section.path:
        raise RecipeError(f"data.path is missing: it says where the {section.name} data lies", where=where)
    for key, owners in _KEYS.items():
        given = getattr(section, key)
        if given is not None and section.name not in owners:
            raise RecipeError(f"data.{key} = {given!r}: only for {', '.join(owners)}", where=where)


def _check_data(section: Data, about: data.DatasetInfo, where: object) -> None:
    try:
        normalize = section.statistics(about)
        section.input_shape(about)
    except (RecipeError, ShapeError) as error:
        raise RecipeError(str(error), where=where) from None
    channels = about.input_shape[0]
    for key in ("mean", "std"):
        given = getattr(normalize, key)
        if len(given) != channels:
            raise RecipeError(
                f"data.normalize.{key} = {list(given)}: {about.name} has {channels} channel(s), give as many",
                where=where,
            )
    if section.validation and not 0 < section.validation_samples(about) < about.train:
        raise RecipeError(
            f"data.validation.fraction = {section.validation.fraction}: of {about.train} images that is "
            f"{section.validation_samples(about)}, and both parts need at least one",
            where=where,
        )


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

"""Checks across the keys of a recipe, and of a recipe with its data: what is well-formed but can't be run."""

from collections.abc import Mapping
from dataclasses import replace

from xtrain import data
from xtrain.errors import RecipeError
from xtrain.recipe.data import Data
from xtrain.recipe.schedules import Schedule
from xtrain.recipe.watch import Metric
from xtrain.spec import (
    SGD,
    Adagrad,
    BatchNorm2d,
    LossSpec,
    ModelSpec,
    OptimizerSpec,
    RMSprop,
)
from xtrain.spec.tensors import ShapeError


def check_data(section: Data, about: data.DatasetInfo, where: object) -> Data:
    """The section with its mean and deviation explicit, where it can be run over the data set."""
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
    return replace(section, normalize=normalize)


def check_batches(section: Data, model: ModelSpec, samples: int, where: object) -> None:
    """Refuse batches that no model, or not this one, can be trained on."""
    size, drop_last = section.batch_size, section.drop_last
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


def check_loss(loss: LossSpec, model: ModelSpec, where: object) -> None:
    """Refuse a loss that does not fit what the model gives."""
    if loss.class_weights is not None:
        classes, given = model.output_shape[0], len(loss.class_weights)
        if given != classes:
            raise RecipeError(
                f"loss.class_weights has {given} values, the data has {classes} classes: give as many",
                where=where,
            )
        if not any(loss.class_weights):
            raise RecipeError("loss.class_weights: one has to be above 0", where=where)
    if problem := loss.unfit(model):
        raise RecipeError(f"loss.name = {loss.name!r}: {problem}", where=where)


def check_momentum(schedule: Schedule, optimizer: OptimizerSpec, where: object) -> None:
    """A schedule that moves a momentum needs an optimizer that has one, as torch's OneCycleLR does."""
    if not schedule.moves_momentum:
        return
    still = isinstance(optimizer, SGD | RMSprop) and optimizer.momentum == 0
    if still or isinstance(optimizer, Adagrad):
        raise RecipeError(
            f"schedule.cycle_momentum = true: {optimizer.name} has no momentum here; "
            "set optimizer.momentum, or schedule.cycle_momentum = false",
            where=where,
        )


def check_watched(watched: Mapping[str, Metric | None], section: Data, where: object) -> None:
    """Refuse to watch (by key) a figure of a validation split that is not there."""
    for key, metric in watched.items():
        if metric and metric.startswith("val_") and section.validation is None:
            raise RecipeError(
                f"{key} = {metric!r}: there is no validation split; set data.validation, "
                f"such as {{ fraction = 0.1 }}, or watch test{metric.removeprefix('val')}",
                where=where,
            )

"""Checks across the keys of a recipe, and of a recipe with its data: what is well-formed but can't be run."""

from collections.abc import Mapping
from dataclasses import replace

from xtrain import data
from xtrain.errors import RecipeError, suggest
from xtrain.recipe.data import Data
from xtrain.recipe.schedules import Schedule
from xtrain.recipe.watch import Metric
from xtrain.spec import (
    NLL,
    SGD,
    Adagrad,
    BatchNorm2d,
    LogSoftmax,
    LossSpec,
    ModelSpec,
    OptimizerSpec,
    RMSprop,
)
from xtrain.spec.tensors import ShapeError

_KEYS = {"path": data.OWN, "image_size": ("image_folder",), "fit": ("image_folder",), "extra": ("svhn",)}
"""Keys of `[data]` that only some data sets have."""


def check_keys(section: Data, where: object) -> None:
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
    if isinstance(loss, NLL) and not isinstance(model.nodes[-1].layer, LogSoftmax):
        raise RecipeError(
            "loss.name = 'nll': takes log-probabilities, and the model does not end in log_softmax; "
            'end its layers with { op = "log_softmax" }, or take cross_entropy',
            where=where,
        )


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

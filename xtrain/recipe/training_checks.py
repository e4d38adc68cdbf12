"""What of loss, schedule and stopping is well-formed but can't be run."""

from xtrain.errors import RecipeError
from xtrain.recipe.recipe import Recipe
from xtrain.recipe.schedules import OneCycle, Plateau
from xtrain.spec import NLL, SGD, Adagrad, LogSoftmax, RMSprop


def check_training(recipe: Recipe, where: object) -> None:
    """`RecipeError` where the recipe, which came from `where`, can't be run."""
    _check_loss(recipe, where)
    _check_momentum(recipe, where)
    watched = {"loop.monitor": recipe.loop.monitor}
    if isinstance(recipe.schedule, Plateau):
        watched["schedule.monitor"] = recipe.schedule.monitor
    if recipe.stopping:
        watched["stopping.monitor"] = recipe.stopping.monitor
    for key, metric in watched.items():
        if metric and metric.startswith("val_") and recipe.data.validation is None:
            raise RecipeError(
                f"{key} = {metric!r}: there is no validation split; set data.validation, "
                f"such as {{ fraction = 0.1 }}, or watch test{metric.removeprefix('val')}",
                where=where,
            )


def _check_loss(recipe: Recipe, where: object) -> None:
    loss, model = recipe.loss, recipe.model_spec
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


def _check_momentum(recipe: Recipe, where: object) -> None:
    """A schedule that moves a momentum needs an optimizer that has one, as torch's OneCycleLR does."""
    schedule, optimizer = recipe.schedule, recipe.optimizer
    if not isinstance(schedule, OneCycle) or not schedule.cycle_momentum:
        return
    still = isinstance(optimizer, SGD | RMSprop) and optimizer.momentum == 0
    if still or isinstance(optimizer, Adagrad):
        raise RecipeError(
            f"schedule.cycle_momentum = true: {optimizer.name} has no momentum here; "
            "set optimizer.momentum, or schedule.cycle_momentum = false",
            where=where,
        )

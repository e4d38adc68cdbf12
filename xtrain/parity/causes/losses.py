"""Causes in the loss and backward phases."""

from dataclasses import replace
from typing import Any

import numpy as np

from xtrain.parity.causes.situation import Array, Cause, Predict, Situation

_FLOOR = 64.0


def _scaled(factor: Any) -> tuple[Predict, Predict]:
    """Loss and gradient times a factor of the situation; None where that is 1."""

    def times(phase: str) -> Predict:
        def predict(s: Situation, name: str) -> Array | None:
            by = factor(s)
            return None if by == 1 else s.right[f"{phase}/{name}"] * by

        return predict

    return times("loss"), times("backward")


def _otherwise(**changes: Any) -> tuple[Predict, Predict]:
    """Loss and gradient with an option of the loss changed; None where it has none, or the same."""

    def other(s: Situation) -> Any:
        loss = s.recipe.loss
        differs = all(hasattr(loss, key) and getattr(loss, key) != value for key, value in changes.items())
        return s.under(replace(loss, **changes)) if differs else None

    def loss(s: Situation, name: str) -> Array | None:
        found = s.once(other)
        return np.array([found[1][name]]) if found else None

    def gradient(s: Situation, name: str) -> Array | None:
        found = s.once(other)
        return found[0][name] if found else None

    return loss, gradient


def _capped(s: Situation, name: str) -> Array | None:
    """The loss of each sample is 64 at most: a log-softmax with a floor."""
    right = s.right[f"loss/{name}"]
    return np.minimum(right, _FLOOR) if right[0] > _FLOOR else None


_BOTH = {
    "reduction: the sum over the samples, not their mean": _scaled(lambda s: s.weight),
    "reduction: the mean is taken twice": _scaled(lambda s: 1 / s.weight),
    "the mean divides by the samples, not by their weights": _scaled(lambda s: s.weight / len(s.labels)),
    "label smoothing is ignored": _otherwise(label_smoothing=0.0),
    "class weights are ignored": _otherwise(class_weights=None),
    "reduction: the mean over the samples, not their sum": _otherwise(reduction="mean"),
}

LOSS = (
    *(Cause(name, loss) for name, (loss, _) in _BOTH.items()),
    Cause("log-softmax has a floor at -64", _capped),
)
BACKWARD = (
    *(Cause(name, gradient) for name, (_, gradient) in _BOTH.items()),
    Cause("the sign is inverted: ascent", lambda s, name: -s.right[f"backward/{name}"]),
)

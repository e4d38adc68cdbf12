"""What the author of a data set, model, augmentation, schedule, loss, layer or observer imports.

docs/extending.md has a package with one of each. Layers to build models from are in `xtrain.spec`.
"""

from xtrain.data import AbsolutePath, Arrays, DatasetInfo
from xtrain.data.augment.drawn import fractions, integers
from xtrain.errors import DataError, XtrainError
from xtrain.recipe.schedules import Clock
from xtrain.recipe.schedules import Warmable as Schedule
from xtrain.spec import Layer, Loss, ModelSpec, Shape, TensorSpec
from xtrain.spec.base import Count, Fraction, NonNegative, Positive, frozen
from xtrain.spec.tensors import ShapeError
from xtrain.training.observers import EpochRecord, Observer, Start, TrainRecord

__all__ = [
    "AbsolutePath",
    "Arrays",
    "Clock",
    "Count",
    "DataError",
    "DatasetInfo",
    "EpochRecord",
    "Fraction",
    "Layer",
    "Loss",
    "ModelSpec",
    "NonNegative",
    "Observer",
    "Positive",
    "Schedule",
    "Shape",
    "ShapeError",
    "Start",
    "TensorSpec",
    "TrainRecord",
    "XtrainError",
    "fractions",
    "frozen",
    "integers",
]

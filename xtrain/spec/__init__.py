"""What a backend is handed: frozen values, checked where they are made, naming no framework."""

from xtrain.spec.augment import Augment, RandomCrop, RandomHorizontalFlip
from xtrain.spec.dropout import keep_mask
from xtrain.spec.layers import (
    AdaptiveAvgPool2d,
    AnyLayer,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Layer,
    Linear,
    MaxPool2d,
    ReLU,
    Residual,
    Shape,
    TensorSpec,
)
from xtrain.spec.model import ModelSpec, Node
from xtrain.spec.optimizer import SGD, Adam, OptimizerSpec
from xtrain.spec.run import (
    CrossEntropy,
    Draws,
    LossSpec,
    Metrics,
    Probe,
    Split,
    State,
    StepInput,
)

__all__ = [
    "SGD",
    "Adam",
    "AdaptiveAvgPool2d",
    "AnyLayer",
    "Augment",
    "AvgPool2d",
    "BatchNorm2d",
    "Conv2d",
    "CrossEntropy",
    "Draws",
    "Dropout",
    "Flatten",
    "Layer",
    "Linear",
    "LossSpec",
    "MaxPool2d",
    "Metrics",
    "ModelSpec",
    "Node",
    "OptimizerSpec",
    "Probe",
    "RandomCrop",
    "RandomHorizontalFlip",
    "ReLU",
    "Residual",
    "Shape",
    "Split",
    "State",
    "StepInput",
    "TensorSpec",
    "keep_mask",
]

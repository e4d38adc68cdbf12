"""Models, data and optimizers that the tests are run over: small, odd-shaped, one row for each case."""

from dataclasses import dataclass

import numpy as np

from xtrain import plan
from xtrain.spec import (
    SGD,
    Adam,
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    CrossEntropy,
    Dropout,
    Flatten,
    Layer,
    Linear,
    MaxPool2d,
    ModelSpec,
    OptimizerSpec,
    ReLU,
    Residual,
    Split,
    StepInput,
)

CLASSES = 5
LOSS = CrossEntropy()


def conv(channels: int = 4, size: int = 3, **options: int | bool) -> Conv2d:
    return Conv2d(out_channels=channels, kernel_size=size, **options)  # type: ignore[arg-type]  # by name


@dataclass(frozen=True)
class Case:
    """Layers under test between a convolution, whose gradient passes through them, and the logits."""

    name: str
    layers: tuple[Layer, ...]
    input_shape: tuple[int, int, int] = (3, 9, 7)

    @property
    def model(self) -> ModelSpec:
        layers = (conv(4, 3, padding=1), *self.layers, Flatten(), Linear(out_features=CLASSES))
        return ModelSpec(self.name, self.input_shape, layers)


LAYERS = (
    Case("conv3", (conv(6, 3),)),
    Case("conv_padding", (conv(6, 3, padding=1),)),
    Case("conv5_stride2", (conv(6, 5, stride=2, padding=2),)),
    Case("conv2_stride2_uneven", (conv(6, 2, stride=2),)),
    Case("conv1_without_bias", (conv(6, 1, bias=False),)),
    Case("linear", (Flatten(), Linear(out_features=11))),
    Case("linear_without_bias", (Flatten(), Linear(out_features=11, bias=False))),
    Case("relu", (ReLU(),)),
    Case("max_pool", (MaxPool2d(kernel_size=2),)),
    Case("max_pool_after_relu", (ReLU(), MaxPool2d(kernel_size=2))),
    Case("max_pool_overlapping", (MaxPool2d(kernel_size=3, stride=2, padding=1),)),
    Case("max_pool_gaps", (MaxPool2d(kernel_size=2, stride=3),)),
    Case("avg_pool", (AvgPool2d(kernel_size=2),)),
    Case("avg_pool_overlapping", (AvgPool2d(kernel_size=3, stride=2, padding=1),)),
    Case("global_avg_pool", (AdaptiveAvgPool2d(),)),
    Case("adaptive_avg_pool_uneven", (AdaptiveAvgPool2d(output_size=4),)),
    Case("dropout_vector", (Flatten(), Linear(out_features=11), Dropout(p=0.3))),
    Case("dropout_image", (Dropout(p=0.5), ReLU(), Dropout(p=0.1))),
    Case("batch_norm", (ReLU(), conv(6, 3, bias=False), BatchNorm2d(), ReLU())),
    Case("batch_norm_options", (ReLU(), conv(6, 3, bias=False), BatchNorm2d(eps=0.01, momentum=0.3))),
    Case("residual_identity", (Residual(body=(conv(4, 3, padding=1), ReLU())), ReLU())),
    Case(
        "residual_shortcut",
        (
            Residual(
                name="layer1.0",
                body=(conv(6, 3, stride=2, padding=1, bias=False), BatchNorm2d(), ReLU(), Dropout(p=0.2)),
                shortcut=(Conv2d(name="downsample.0", out_channels=6, kernel_size=1, stride=2, bias=False),),
            ),
        ),
    ),
    Case("residual_nested", (Residual(body=(Residual(body=(ReLU(),)), conv(4, 1))),)),
)

OPTIMIZERS: dict[str, OptimizerSpec] = {
    "sgd": SGD(lr=0.1),
    "sgd_weight_decay": SGD(lr=0.1, weight_decay=0.1),
    "sgd_momentum": SGD(lr=0.1, momentum=0.9),
    "sgd_dampening": SGD(lr=0.1, momentum=0.9, dampening=0.4),
    "sgd_nesterov": SGD(lr=0.1, momentum=0.9, nesterov=True),
    "sgd_everything": SGD(lr=0.1, momentum=0.8, nesterov=True, weight_decay=0.05),
    "sgd_dampening_decay": SGD(lr=0.1, momentum=0.8, dampening=0.2, weight_decay=0.05),
    "adam": Adam(lr=0.01),
    "adam_betas_eps": Adam(lr=0.01, betas=(0.8, 0.9), eps=1e-4),
    "adam_weight_decay": Adam(lr=0.01, weight_decay=0.1),
}

MLP = ModelSpec(
    "mlp",
    (1, 4, 6),
    (Flatten(), Linear(out_features=16), ReLU(), Dropout(p=0.25), Linear(out_features=CLASSES)),
)

CONVOLUTIONAL = ModelSpec(
    "convolutional",
    (3, 12, 10),
    (
        conv(6, 3, bias=False),
        BatchNorm2d(),
        ReLU(),
        MaxPool2d(kernel_size=2),
        Residual(body=(conv(6, 3, padding=1), ReLU(), Dropout(p=0.25))),
        Flatten(),
        Linear(out_features=16),
        ReLU(),
        Dropout(p=0.5),
        Linear(out_features=CLASSES),
    ),
)


def split(model: ModelSpec, samples: int = 23, seed: int = 1) -> Split:
    """Random pixels, each value of each channel standing for a random number."""
    channels = model.input_shape[0]
    pixels = plan.words(seed, "pixels", samples * int(np.prod(model.input_shape))) % np.uint64(256)
    labels = plan.words(seed, "labels", samples) % np.uint64(CLASSES)
    table = (
        np.linspace(-1.7, 2.1, 256, dtype=np.float32) + 0.1 * np.arange(channels, dtype=np.float32)[:, None]
    )
    images = pixels.astype(np.uint8).reshape(samples, *model.input_shape)
    return Split(images, labels.astype(np.int64), table)


def step_input(model: ModelSpec, number: int = 1, lr: float = 0.05) -> StepInput:
    return StepInput(number, lr, plan.dropout_keys(0, number, model))

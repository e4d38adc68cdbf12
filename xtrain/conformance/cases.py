"""Models, data and optimizers that the tests are run over: small, odd-shaped, one row for each case."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from xtrain import plan
from xtrain.data.batches import per_channel
from xtrain.spec import (
    LSTM,
    MSE,
    NLL,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    CrossEntropy,
    Dropout,
    Flatten,
    Last,
    Layer,
    Linear,
    LogSoftmax,
    LossSpec,
    MaxPool2d,
    ModelSpec,
    OptimizerSpec,
    ReLU,
    Residual,
    RMSprop,
    Rows,
    Split,
    StepInput,
)
from xtrain.spec.layer import LAYERS as VOCABULARY

CLASSES = 5
SAMPLES = 23
LOSS = CrossEntropy()


def conv(channels: int = 4, size: int = 3, **options: int | bool) -> Conv2d:
    return Conv2d(out_channels=channels, kernel_size=size, **options)  # type: ignore[arg-type]  # by name


IMAGES = (conv(4, 3, padding=1),), (Flatten(),)
FEATURES = (Flatten(), Linear(out_features=12)), ()
SEQUENCES = (), (Flatten(),)


@dataclass(frozen=True)
class Case:
    """Layers under test, before the logits.

    What stands around them is what they take: `IMAGES` and `FEATURES` have weights before them, so that a
    gradient has to pass through.
    """

    name: str
    layers: tuple[Layer, ...]
    input_shape: tuple[int, int, int] = (3, 9, 7)
    around: tuple[tuple[Layer, ...], tuple[Layer, ...]] = IMAGES

    @property
    def model(self) -> ModelSpec:
        before, after = self.around
        layers = (*before, *self.layers, *after, Linear(out_features=CLASSES))
        return ModelSpec(self.name, self.input_shape, layers)


LAYERS = (
    Case("conv3", (conv(6, 3),)),
    Case("conv_padding", (conv(6, 3, padding=1),)),
    Case("conv5_stride2", (conv(6, 5, stride=2, padding=2),)),
    Case("conv2_stride2_uneven", (conv(6, 2, stride=2),)),
    Case("conv1_without_bias", (conv(6, 1, bias=False),)),
    Case("linear", (Linear(out_features=11),), around=FEATURES),
    Case("linear_without_bias", (Linear(out_features=11, bias=False),), around=FEATURES),
    Case("linear_after_images", (Flatten(), Linear(out_features=11))),
    Case("relu", (ReLU(),), around=FEATURES),
    Case("relu_image", (ReLU(),)),
    Case("max_pool", (MaxPool2d(kernel_size=2),)),
    Case("max_pool_after_relu", (ReLU(), MaxPool2d(kernel_size=2))),
    Case("max_pool_overlapping", (MaxPool2d(kernel_size=3, stride=2, padding=1),)),
    Case("max_pool_gaps", (MaxPool2d(kernel_size=2, stride=3),)),
    Case("avg_pool", (AvgPool2d(kernel_size=2),)),
    Case("avg_pool_overlapping", (AvgPool2d(kernel_size=3, stride=2, padding=1),)),
    # A small image: its gradients are sums of equal terms, whose rounding errors all point one way.
    Case("global_avg_pool", (AdaptiveAvgPool2d(),), input_shape=(3, 4, 3)),
    Case("adaptive_avg_pool_uneven", (AdaptiveAvgPool2d(output_size=4),)),
    Case("dropout_vector", (Dropout(p=0.3),), around=FEATURES),
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
    Case("log_softmax", (LogSoftmax(),), around=FEATURES),
    Case("rows", (Rows(),), around=SEQUENCES),
    Case("lstm", (Rows(), LSTM(hidden_size=6)), around=SEQUENCES),
    Case("lstm_two_layers_last", (Rows(), LSTM(hidden_size=5, num_layers=2), Last()), around=SEQUENCES),
    Case("lstm_after_images", (Rows(), LSTM(hidden_size=6))),
    Case("residual_nested", (Residual(body=(Residual(body=(ReLU(),)), conv(4, 1))),)),
)


def foreign() -> tuple[Case, ...]:
    """Cases for the layers of other packages that are installed, as their `examples` have them."""
    return tuple(case for found in _foreign().values() if isinstance(found, tuple) for case in found)


def problems() -> tuple[str, ...]:
    """What is wrong with layers of other packages, which have no rows for it."""
    return tuple(found for found in _foreign().values() if isinstance(found, str))


@cache
def _foreign() -> dict[str, tuple[Case, ...] | str]:
    """The cases of each layer of another package, or why it has none: a broken one stops no other row."""
    found: dict[str, tuple[Case, ...] | str] = {}
    for name, package in VOCABULARY.offered().items():
        try:
            examples = VOCABULARY.find(name).examples()  # type: ignore[union-attr]  # it is offered
            cases = tuple(Case(f"{name}_{i}", layers) for i, layers in enumerate(examples, start=1))
            assert all(case.model for case in cases)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever its code may raise
            why = f"{type(error).__name__}: {error}".splitlines()[0]
            found[name] = f"no rows for layer {name!r} of {package}, whose examples() can't be made: {why}"
        else:
            found[name] = cases
    return found


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
    "adamw": AdamW(lr=0.01, weight_decay=0.1, betas=(0.8, 0.99)),
    "rmsprop": RMSprop(lr=0.001),
    "rmsprop_everything": RMSprop(
        lr=0.001, alpha=0.9, eps=1e-4, momentum=0.8, centered=True, weight_decay=0.05
    ),
    "adagrad": Adagrad(lr=0.005),
    "adagrad_everything": Adagrad(lr=0.005, lr_decay=0.1, eps=1e-4, weight_decay=0.05),
    "sgd_penalties": SGD(lr=0.1, momentum=0.9, weight_decay=0.1, l1=0.02, l2=0.05, decay_exclude=("bias",)),
    "sgd_clipped": SGD(lr=0.1, momentum=0.9, clip_value=0.01, clip_norm=0.05),
    "sgd_average_of_the_last": SGD(lr=0.1, ema=0.0),
    "adam_clipped_averaged": Adam(lr=0.01, weight_decay=0.1, decay_exclude=("norm",), clip_norm=0.5, ema=0.9),
}

_WEIGHTS = (0.5, 2.0, 1.0, 0.1, 3.0)
LOSSES: dict[str, LossSpec] = {
    "cross_entropy": LOSS,
    "cross_entropy_sum": CrossEntropy(reduction="sum"),
    "cross_entropy_smoothed": CrossEntropy(label_smoothing=0.2),
    "cross_entropy_weighted": CrossEntropy(class_weights=_WEIGHTS),
    "cross_entropy_everything": CrossEntropy(label_smoothing=0.1, class_weights=_WEIGHTS, reduction="sum"),
    "cross_entropy_smoothed_weighted": CrossEntropy(label_smoothing=0.1, class_weights=_WEIGHTS),
    "nll": NLL(),
    "nll_weighted": NLL(class_weights=_WEIGHTS),
    "mse": MSE(),
    "mse_sum": MSE(reduction="sum"),
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


def split(model: ModelSpec, samples: int = SAMPLES, seed: int = 1) -> Split:
    """Random pixels, from about -2 to 2, a little more in each channel."""
    channels = model.input_shape[0]
    pixels = plan.words(seed, "pixels", samples * int(np.prod(model.input_shape))) % np.uint64(256)
    labels = plan.words(seed, "labels", samples) % np.uint64(CLASSES)
    mean, std = (per_channel([of + 0.02 * channel for channel in range(channels)]) for of in (0.45, 0.26))
    images = pixels.astype(np.uint8).reshape(samples, *model.input_shape)
    return Split(images, labels.astype(np.int64), mean, std)


def step_input(
    model: ModelSpec, number: int = 1, lr: float = 0.05, sizes: Sequence[int] = (SAMPLES,)
) -> StepInput:
    """A step over batches of these sizes, its loss the mean over all of them."""
    keys = plan.dropout_keys(0, number, model)
    return StepInput(number, lr, None, keys, share=1 / sum(sizes), first_rows=plan.first_rows(sizes))

"""The `[data]` section."""

import os
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, Strict

from xtrain import plan
from xtrain.data import OWN, DatasetInfo, names
from xtrain.errors import RecipeError
from xtrain.spec import Augment, Shape, Transform
from xtrain.spec.base import Count, Side, frozen
from xtrain.spec.tensors import ShapeError


@frozen
class Normalize:
    """Mean and standard deviation of each channel, for pixels between 0 and 1."""

    mean: Annotated[tuple[Annotated[float, Field(ge=-1e6, le=1e6)], ...], Strict(False)]
    std: Annotated[tuple[Annotated[float, Field(ge=1e-12, le=1e6)], ...], Strict(False)]


IMAGENET = Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""The figures that torchvision's models for ImageNet were trained with."""


@frozen
class Validation:
    """How much of the training images is kept for validation: a fraction, of each class alike if `balanced`.

    The seed decides which; `xtrain.plan.held_out` says how, and how the fraction is rounded.
    """

    fraction: Annotated[float, Field(gt=0, lt=1)]
    balanced: bool = False


_Statistics = Normalize | Literal["dataset", "imagenet"]


def _statistics(given: Any) -> Any:
    """What a word stands for; None is the data set's own."""
    if not isinstance(given, str):
        return given
    if given not in ("dataset", "imagenet"):
        raise ValueError('give "dataset", "imagenet" or { mean = [...], std = [...] }')
    return IMAGENET if given == "imagenet" else None


def _absolute(path: str | None) -> str | None:
    """The run's own copy of a recipe is read from anywhere."""
    return os.path.abspath(os.path.expanduser(path)) if path else path


AbsolutePath = Annotated[str | None, AfterValidator(_absolute)]


@frozen
class Data:
    """What is trained on, and in which batches.

    Args:
        name: of a published data set, or `image_folder`, `npz`, `npy` for one's own.
        batch_size, eval_batch_size: samples.
        augment: what is done to the images of training, in order.
        eval_transform: what is done to those of validation and test; it ends in images of the same size.
        normalize: figures, `"imagenet"`, or `"dataset"`, which is what holds without it: the data set's own.
        drop_last: leave out an incomplete last batch of training.
        path: where one's own data lies, from the current directory.
        image_size, fit: of an image folder, see `xtrain.data.image_folder`.
        extra: SVHN's extra training images, too.
        validation: what of the training images is kept for validation.

    """

    name: Annotated[str, Field(json_schema_extra={"enum": [*names(), *OWN]})]
    batch_size: Count
    eval_batch_size: Count = 256
    augment: Annotated[tuple[Augment, ...], Strict(False)] = ()
    eval_transform: Annotated[tuple[Transform, ...], Strict(False)] = ()
    normalize: Annotated[Normalize | None, BeforeValidator(_statistics, _Statistics)] = None
    drop_last: bool = False
    path: AbsolutePath = None
    image_size: Side | None = None
    fit: Literal["resize", "center_crop"] | None = None
    extra: bool | None = None
    validation: Validation | None = None

    def __post_init__(self) -> None:
        # Defaults that only one data set has.
        if self.name == "image_folder" and self.fit is None:
            object.__setattr__(self, "fit", "resize")
        if self.name == "svhn" and self.extra is None:
            object.__setattr__(self, "extra", False)

    def input_shape(self, about: DatasetInfo) -> Shape:
        """(channels, height, width) of what the model is given; `ShapeError` where there is no such one."""
        trained = transformed(self.augment, about.input_shape, "data.augment")
        tested = transformed(self.eval_transform, about.input_shape, "data.eval_transform")
        if trained != tested:
            raise ShapeError(
                f"data.augment gives images of {_size(trained)}, data.eval_transform of {_size(tested)}: "
                "they must be of one size; center_crop and resize can stand in either"
            )
        return trained

    def statistics(self, about: DatasetInfo) -> Normalize:
        """Mean and standard deviation in force."""
        if self.normalize:
            return self.normalize
        if not all(about.std):
            raise RecipeError(
                f"data.normalize is missing: {about.name} has a channel of one value, whose deviation is "
                f"{min(about.std)}; give mean and std"
            )
        return Normalize(mean=about.mean, std=about.std)

    def train_samples(self, about: DatasetInfo) -> int:
        """How many images are left to train on."""
        return about.train - self.validation_samples(about)

    def validation_samples(self, about: DatasetInfo) -> int:
        """How many images are kept for validation."""
        return plan.held_out_count(about.train, self.validation.fraction) if self.validation else 0


def transformed(steps: Sequence[Augment], shape: Shape, key: str) -> Shape:
    """Shape of an image after all steps; `ShapeError` names the one that can't take it by its `key`."""
    for place, step in enumerate(steps):
        try:
            shape = step.output_shape(shape)
        except ShapeError as error:
            raise ShapeError(f"{key}[{place}].{error}") from None
    return shape


def _size(shape: Shape) -> str:
    return f"{shape[1]}x{shape[2]}"

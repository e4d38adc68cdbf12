"""The `[data]` section."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, Strict

from xtrain import plan
from xtrain.data import DATASETS, Dataset, DatasetInfo
from xtrain.errors import RecipeError
from xtrain.spec import Augment, Shape, Transform
from xtrain.spec.base import Count, frozen
from xtrain.spec.parts import OwnCode
from xtrain.spec.tensors import ShapeError, as_shape


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


@frozen
class Data:
    """What is trained on, and in which batches.

    Args:
        dataset: the data set; its keys, `name` among them, stand in the section itself.
        batch_size, eval_batch_size: samples.
        augment: what is done to the images of training, in order.
        eval_transform: what is done to those of validation and test; it ends in images of the same size.
        normalize: figures, `"imagenet"`, or `"dataset"`, which is what holds without it: the data set's own.
        drop_last: leave out an incomplete last batch of training.
        validation: what of the training images is kept for validation.

    """

    inline: ClassVar[str] = "dataset"
    dataset: Annotated[Dataset, DATASETS]
    batch_size: Count
    eval_batch_size: Count = 256
    augment: Annotated[tuple[Augment, ...], Strict(False)] = ()
    eval_transform: Annotated[tuple[Transform, ...], Strict(False)] = ()
    normalize: Annotated[Normalize | None, BeforeValidator(_statistics, _Statistics)] = None
    drop_last: bool = False
    validation: Validation | None = None

    @property
    def name(self) -> str:
        """The data set's name."""
        return self.dataset.name

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


BATCHES = {field.name for field in fields(Data)} - {Data.inline}
DATASETS.taken = BATCHES


def nested(section: Mapping[str, Any]) -> dict[str, Any]:
    """A `[data]` section as TOML has it, with the data set's own keys apart."""
    given = {key: value for key, value in section.items() if key in BATCHES}
    return {Data.inline: {key: value for key, value in section.items() if key not in BATCHES}, **given}


def flat(section: Mapping[str, Any]) -> dict[str, Any]:
    """What `nested` was given."""
    dataset = dict(section[Data.inline])
    given = {key: value for key, value in section.items() if key != Data.inline}
    return {"name": dataset.pop("name"), **given, **dataset}


def transformed(steps: Sequence[Augment], shape: Shape, key: str) -> Shape:
    """Shape of an image after all steps; `ShapeError` names the one that can't take it by its `key`."""
    for place, step in enumerate(steps):
        try:
            with OwnCode("whose output_shape() fails", step):
                shape = as_shape(step.output_shape(shape), sides=3)
        except ShapeError as error:
            raise ShapeError(f"{key}[{place}].{error}") from None
    return shape


def _size(shape: Shape) -> str:
    return f"{shape[1]}x{shape[2]}"

"""A trained model in this process: images in, probabilities out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xtrain import homes, plan, plugins, protocols
from xtrain.data.batches import assemble, per_channel
from xtrain.errors import UsageError
from xtrain.inference.images import is_paths, read_images
from xtrain.recipe import Job
from xtrain.runs import checkpoint as checkpoints
from xtrain.runs.run import Run, locate
from xtrain.spec import LogSoftmax, Precision, Shape, Split
from xtrain.spec.tensors import format_shape
from xtrain.training.assembly import Options, chosen, open_backend


class TrainedModel:
    """A checkpoint of a run as a model that predicts; `xtrain.load` makes one.

    Args:
        run: what it was trained by.
        checkpoint: the folder that its weights come from.
        job: the run's recipe over its data's facts.
        model: the backend's model, which holds the weights.

    """

    def __init__(self, run: Run, checkpoint: Path, job: Job, model: protocols.Model) -> None:
        self.run, self.checkpoint = run, checkpoint
        self._job, self._model = job, model

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the columns that `predict` gives."""
        return self._job.data.class_names

    @property
    def input_shape(self) -> Shape:
        """(channels, height, width) of one image as the model is fed."""
        return self._job.model.input_shape

    @property
    def native(self) -> Any:
        """The framework's own module: nn.Module, nn.Layer, nn.Cell. It gives logits.

        `UsageError` where the backend has none.
        """
        if not hasattr(self._model, "native"):
            raise UsageError("this backend's models are no modules of its framework", remedy="use predict")
        return self._model.native

    def predict(self, images: ArrayLike | str | Path | Sequence[str | Path]) -> NDArray[np.float32]:
        """Probabilities of each class, float32 [B, K], where K is the number of classes.

        Args:
            images: one of three. **uint8** [B, C, H, W], pixels from 0 to 255: they get the run's own
                evaluation transforms and normalisation. **Floats** [B, C, H, W]: they are fed as they are, so
                they are normalised already. **Paths** of PNG or JPEG files: they are read in the run's
                channels, brought to the size of its images as its data section says, and then are as uint8.
                One image [C, H, W], or one path, is a batch of one, and gives [1, K].

        Raises:
            UsageError: another shape or type; it says which one is expected.
            DataError: a file that can't be read, or is of another size.

        """
        given = read_images(images, self._job) if is_paths(images) else _array(images)
        if given.dtype != np.uint8 and given.dtype.kind != "f":
            raise UsageError(
                f"images are {given.dtype}",
                remedy="give uint8, pixels from 0 to 255, or floats as the model is fed, normalised",
            )
        pixels = given.dtype == np.uint8
        wanted = self._job.data.input_shape if pixels else self.input_shape
        batch = given[None] if given.ndim == 3 else given
        if batch.ndim != 4 or batch.shape[1:] != wanted:
            one = ", ".join(map(str, wanted))
            raise UsageError(
                f"images are {given.dtype} of shape {given.shape}",
                remedy=f"{given.dtype} images have to be [B, {one}], or one image [{one}]",
            )
        found = [self._probabilities(part) for part in (self._fed(batch) if pixels else self._cut(batch))]
        return np.concatenate([np.empty((0, len(self.classes)), dtype=np.float32), *found])

    def _fed(self, pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Pixels [B, C, H, W] as evaluation feeds them, batch by batch."""
        section, normalize = self._job.recipe.data, self._job.normalize
        mean, std = per_channel(normalize.mean), per_channel(normalize.std)
        split = Split(pixels, np.zeros(len(pixels), np.int64), mean, std, section.eval_transform)
        return [images for images, _ in assemble(split, plan.eval_draws(len(pixels), self._batch))]

    def _cut(self, images: NDArray[Any]) -> list[NDArray[np.float32]]:
        whole = np.ascontiguousarray(images, dtype=np.float32)
        return [whole[start : start + self._batch] for start in range(0, len(whole), self._batch)]

    @property
    def _batch(self) -> int:
        return self._job.recipe.data.eval_batch_size

    def _probabilities(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities of one batch [B, C, H, W]: softmax of logits, or what log-probabilities stand for."""
        scores = np.asarray(self._model.predict(images), dtype=np.float64)
        if not isinstance(self._job.model.nodes[-1].layer, LogSoftmax):
            scores = scores - scores.max(axis=1, keepdims=True)
            scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
        return np.exp(scores).astype(np.float32)

    def __repr__(self) -> str:
        shape = format_shape(self.input_shape)
        return f"<{self._job.model.name} of {self.checkpoint}: {shape} to {len(self.classes)} classes>"


def _array(images: Any) -> NDArray[Any]:
    try:
        return np.asarray(images)
    except (ValueError, TypeError, RuntimeError) as error:  # rows of several lengths; a tensor of a graph
        raise UsageError(
            f"images can't be made one array: {error}",
            remedy="give an array, a list of arrays of one shape, or paths of images",
        ) from error


@dataclass(frozen=True)
class Prediction:
    """What a checkpoint says of images.

    Args:
        model: name of the recipe and of the checkpoint.
        classes: their names.
        probabilities: float32 [B, K].

    """

    model: str
    classes: tuple[str, ...]
    probabilities: NDArray[np.float32]


def predict(run: Path, images: Sequence[Path], options: Options, checkpoint: str | None) -> Prediction:
    """Predict the classes of image files, under a backend that lives here or elsewhere; see `load`."""
    place, _ = _located(run)
    options, _ = chosen(options, place)
    pixels = read_images(images, place.job)
    if homes.find(options.backend):
        return homes.call(options.backend, _predicted, run, pixels, options, checkpoint)
    return _predicted(run, pixels, options, checkpoint)


def _predicted(run: Path, images: NDArray[np.uint8], options: Options, checkpoint: str | None) -> Prediction:
    model = load(
        run,
        backend=options.backend,
        checkpoint=checkpoint,
        device=options.device,
        threads=options.threads,
    )
    name = f"{model.run.recipe.name} {model.checkpoint.name}"
    return Prediction(name, model.classes, model.predict(images))


def load(
    run: Run | str | Path,
    *,
    backend: str | None = None,
    checkpoint: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    precision: Precision | None = None,
) -> TrainedModel:
    """A trained model in this process, ready to predict. No data set is read.

    Args:
        run: a run, its directory, or one of its checkpoint folders.
        backend: its name; by default the one that trained last.
        checkpoint: `best`, `last` or `step-N`; by default the folder that `run` names, else `best`.
        device: `auto`, or a device of the backend, such as `cpu` or `gpu:0`.
        threads: how many the framework may use; by default as the run had.
        precision: by default the run's own.

    Raises:
        UsageError: no such run or checkpoint, or this process has loaded another framework already.
        CheckpointError: the checkpoint is damaged.

    """
    place, named = _located(run)
    options, _ = chosen(Options(backend or "", device, threads), place)
    if homes.find(options.backend):
        raise UsageError(
            f"backend {options.backend} lives in another environment, and a model in this process",
            remedy="xtrain predict RUN IMAGE goes there; or name a backend that lives here",
        )
    job = place.job
    path, found = place.load(checkpoint or named, job.model)
    maker = plugins.load(options.backend, options.device, options.threads)
    if plugins.occupied(maker, {}):  # settings do not matter: they make trainings repeatable
        raise UsageError(
            f"this process has loaded another framework than {options.backend}'s",
            remedy="a model lives in this process: name the backend whose framework is loaded, "
            "or load the model in a fresh process",
        )
    ready = open_backend(options, job.model, precision or job.recipe.loop.precision)
    model = ready.model(job.model)
    model.load(checkpoints.averaged(found.model, found.optimizer))
    return TrainedModel(place, path, job, model)


def _located(run: Run | str | Path) -> tuple[Run, str]:
    """The run, and which checkpoint of it is meant where none is asked for."""
    if isinstance(run, Run):
        return run, "best"
    place, name = locate(run)
    of_folder = Path(run).absolute().parent == place.checkpoints.absolute()
    return place, name if of_folder else "best"

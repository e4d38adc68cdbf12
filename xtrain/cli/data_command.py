"""`xtrain data`: the images of a data set, in figures and in a picture."""

import os
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from xtrain import data, plan
from xtrain.cli.options import overrides, read_recipe, recipe_options
from xtrain.cli.tables import show
from xtrain.data.base import statistics
from xtrain.data.batches import augmented
from xtrain.errors import MissingError, UsageError, suggest
from xtrain.recipe import Job, parse, shipped
from xtrain.spec import Draws, Split
from xtrain.system.distribution import need
from xtrain.training.assembly import load_data, splits

_SAMPLES = 10  # columns of the picture
_EPOCHS = 3  # rows after augmentation


@click.command("data")
@click.argument("dataset")
@recipe_options
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="PNG; default: data-NAME.png.")
@click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), help="Where data sets lie.")
def command(
    dataset: str, settings: tuple[str, ...], seed: int | None, out: Path | None, data_dir: Path | None
) -> int:
    """Show counts, class balance, mean and deviation of DATASET, or of the data of a RECIPE.

    A picture shows training images before augmentation, and as they are in the first epochs.
    """
    job = _job(dataset, settings, seed)
    train, validation, test = splits(job, load_data(job, data_dir))
    parts = {"train": train, **({"validation": validation} if validation else {}), "test": test}
    names = job.data.class_names
    _show_classes(f"{job.data.title}, classes", names, parts)
    _show_channels(job, train)
    path = out or Path(f"data-{job.recipe.name}.png")
    try:
        _draw(job, train, names, path)
    except MissingError as error:
        if out:
            raise
        click.echo(f"no picture: {error}")
    else:
        click.echo(f"samples: {path}")
    return 0


def _job(dataset: str, settings: tuple[str, ...], seed: int | None) -> Job:
    """That of the recipe named, or of one about nothing but a data set."""
    known = [*data.selectable(), *shipped()]
    if dataset not in known and not os.path.exists(dataset):
        raise UsageError("there is no such data set or recipe", where=dataset, remedy=suggest(dataset, known))
    if dataset not in data.selectable():
        return read_recipe(dataset, settings, seed)
    values: dict[str, Any] = {
        "name": dataset,
        "data": {"name": dataset, "batch_size": _SAMPLES},
        "model": {"name": "mlp", "hidden": []},
        "optimizer": {"name": "sgd", "lr": 0.1},
        "loop": {"epochs": 1},
    }
    where = f"data set {dataset}"
    return parse(values, where, overrides(settings, seed)).bind(where=where)


def _show_classes(title: str, names: tuple[str, ...], parts: dict[str, Split]) -> None:
    counts = {part: np.bincount(split.labels, minlength=len(names)) for part, split in parts.items()}
    rows = [
        (str(label), name, *(cell for found in counts.values() for cell in _share(found[label], found.sum())))
        for label, name in enumerate(names)
    ]
    rows.append(("", "all", *(cell for found in counts.values() for cell in (f"{found.sum():,}", ""))))
    headers = ("label", "class", *(header for part in parts for header in (part, "")))
    show(title, headers, rows, right=(0, *range(2, len(headers))))


def _share(count: int, total: int) -> tuple[str, str]:
    return f"{count:,}", f"{count / total:.1%}"


def _show_channels(job: Job, train: Split) -> None:
    mean, std = statistics(train.images)
    used = job.normalize
    rows = [
        (str(place), *(f"{value:.4f}" for value in row))
        for place, row in enumerate(zip(mean, std, used.mean, used.std, strict=True))
    ]
    headers = ("channel", "mean", "deviation", "mean used", "deviation used")
    show(
        "pixels of the training images, from 0 to 1, and what normalises them", headers, rows, (0, 1, 2, 3, 4)
    )


def _draw(job: Job, train: Split, names: tuple[str, ...], path: Path) -> None:
    """One row of training images as they are, and one for each of the first epochs."""
    need("matplotlib", "plot", "a picture")
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - a second, and only here
    from matplotlib.figure import Figure  # noqa: PLC0415

    chosen = plan.order(job.recipe.seed, 1, len(train.labels))[:_SAMPLES]
    rows = {"as it is": train.images[chosen]}
    for epoch in range(1, _EPOCHS + 1) if train.augment else ():
        rows[f"epoch {epoch}"] = _augmented(job, train, chosen, epoch)
    figure = Figure(figsize=(1.1 * len(chosen) + 0.8, 1.2 * len(rows) + 0.3), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), len(chosen), squeeze=False)
    for row, (title, images) in zip(axes, rows.items(), strict=True):
        row[0].set_ylabel(title)
        for axis, image, label in zip(row, images, train.labels[chosen], strict=True):
            axis.imshow(*_shown(image), vmin=0, vmax=255)
            axis.set_xticks([])
            axis.set_yticks([])
            if row is axes[0]:
                axis.set_title(names[label], fontsize="small")
    try:
        figure.savefig(path, format="png", dpi=100)
    except OSError as error:
        raise UsageError(
            f"can't be written: {error.strerror}", where=path, remedy="name another --out"
        ) from error


def _augmented(job: Job, train: Split, chosen: NDArray[np.int64], epoch: int) -> NDArray[np.uint8]:
    """Images [chosen, C, H, W] as a run sees them in that epoch."""
    draws = job.draws(epoch)
    return next(augmented(train, Draws((chosen,), draws.augment)))


def _shown(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], str | None]:
    """Pixels [H, W] or [H, W, 3], and the colours that grey ones are shown in."""
    return (image[0], "gray") if len(image) == 1 else (image.transpose(1, 2, 0), None)

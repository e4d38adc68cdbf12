"""`xtrain predict`: what a trained model says of image files."""

from pathlib import Path

import click
import numpy as np

from xtrain.cli.tables import show
from xtrain.inference.model import predict
from xtrain.training.assembly import Options


@click.command("predict")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--backend", help="Default: the one that trained it.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, gpu:0, ascend:1, ...")
@click.option("--threads", type=click.IntRange(min=1), help="Default: the backend's choice.")
@click.option("--checkpoint", help="last, best or step-N; default: best.")
@click.option("--top", type=click.IntRange(min=1), default=1, show_default=True, help="Classes for each.")
def command(
    run: Path,
    images: tuple[Path, ...],
    backend: str | None,
    device: str,
    threads: int | None,
    checkpoint: str | None,
    top: int,
) -> int:
    """Say of each of IMAGES, PNG or JPEG files, which class the model of RUN takes it for.

    An image is read in the channels of the run's data, and has to have its size; those of an image folder are
    brought to theirs as in the training.
    """
    found = predict(run, images, Options(backend or "", device, threads), checkpoint)
    rows = []
    for path, odds in zip(images, found.probabilities, strict=True):
        for place in np.argsort(-odds, kind="stable")[:top]:
            rows.append((str(path), found.classes[place], f"{odds[place]:.4f}"))
    show(found.model, ("image", "class", "probability"), rows, right=(2,))
    return 0

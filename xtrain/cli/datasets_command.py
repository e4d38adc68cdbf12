"""`xtrain datasets`: what there is to train on."""

import click

from xtrain import data
from xtrain.cli.tables import show
from xtrain.spec.tensors import format_shape


@click.command("datasets")
def command() -> int:
    """List the data sets; files are looked for in --data-dir, $XTRAIN_DATA, then the cache directory."""
    rows = []
    for name in data.names():
        about = data.info(name)
        counts = f"{about.train:,}", f"{about.test:,}", str(about.classes)
        rows.append((name, about.title, format_shape(about.input_shape), *counts))
    for name, package in data.DATASETS.offered().items():
        rows.append((name, f"from {package}", "", "", "", ""))
    show("data sets", ("name", "what", "image", "train", "test", "classes"), rows, right=(3, 4, 5))
    return 0

"""The parity ladder, P0 to P5, on real data: five nets under four optimizers, or the shipped recipes."""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import trials

from xtrain import data
from xtrain.errors import DataError
from xtrain.parity import ladder
from xtrain.parity.compare import Row, worst
from xtrain.parity.trace import LEVELS, Ask
from xtrain.recipe import Recipe, load_recipe, shipped
from xtrain.training.assembly import Options

VGG = [
    layer
    for channels in (16, 32, 64)
    for layer in (
        {"op": "conv2d", "out_channels": channels, "kernel_size": 3, "padding": 1},
        {"op": "batch_norm2d"},
        {"op": "relu"},
        {"op": "conv2d", "out_channels": channels, "kernel_size": 3, "padding": 1},
        {"op": "batch_norm2d"},
        {"op": "relu"},
        {"op": "max_pool2d", "kernel_size": 2},
    )
] + [
    {"op": "flatten"},
    {"op": "linear", "out_features": 128},
    {"op": "relu"},
    {"op": "dropout", "p": 0.5},
    {"op": "linear", "out_features": 10},
]
AUGMENT = [{"op": "random_crop", "size": 32, "padding": 4}, {"op": "random_horizontal_flip"}]

# A shipped recipe and what is changed in it.
NETS: dict[str, tuple[str, dict[str, Any]]] = {
    "mlp": ("mnist_mlp", {}),
    "lenet": ("cifar10_lenet", {}),
    "simplecnn, dropout": ("cifar10_simplecnn", {"model.dropout": 0.25}),
    "vgg, batch norm": ("cifar10_lenet", {"model": {"layers": VGG}, "data.augment": AUGMENT}),
    "residual": (
        "cifar10_resnet",
        {"model": {"name": "wide_resnet", "depth": 10, "width": 1}, "schedule": {"name": "cosine"}},
    ),
}
FROM_THE_START = {"init_from": None}  # the second stage of two: a ladder compares first steps
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"name": "sgd", "lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4},
    "adam": {"name": "adam", "lr": 1e-3},
    "adamw": {"name": "adamw", "lr": 1e-3, "weight_decay": 0.01},
    "rmsprop": {"name": "rmsprop", "lr": 1e-3, "momentum": 0.9},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    trials.add_arguments(parser)
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--optimizers", nargs="+", choices=OPTIMIZERS, default=list(OPTIMIZERS))
    parser.add_argument(
        "--recipes", nargs="*", metavar="NAME", help="these as they are, not the nets; all without a NAME"
    )
    parser.add_argument("--steps", type=int, default=200, help="of the trajectory")
    parser.add_argument("--numpy-steps", type=int, default=20, help="of NumPy's; 0: without NumPy")
    parser.add_argument("--levels", nargs="+", choices=LEVELS, default=Ask().levels)
    parser.add_argument("--batch-size", type=int, help="in place of a shipped recipe's own")
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    path = trials.result_path(options.results, options.name, "ladder")
    asked = {"steps": options.steps, "batch_size": options.batch_size}
    found: list[dict[str, Any]] = []
    for net, optimizer, recipe in subjects(options):
        rows = climb(recipe, options)
        found += [{"net": net, "optimizer": optimizer, **asdict(row), "holds": row.holds} for row in rows]
        trials.write(path, {"environment": trials.environment(), **asked, "rows": found})
        for line in summary(rows):
            print(f"{net:20}{optimizer:9}{line}", flush=True)
    print(f"{sum(not row['holds'] for row in found)} of {len(found)} do not hold\nin {path}")


def subjects(options: argparse.Namespace) -> Iterator[tuple[str, str, Recipe]]:
    """What is trained: a net's or recipe's name, the optimizer's, the recipe."""
    if options.recipes is not None:
        for name in options.recipes or shipped():
            recipe = on_images_at_hand(name, options)
            yield f"{name}, {recipe.data.name}", recipe.optimizer.name, recipe
        return
    for net, optimizer in product(options.nets, options.optimizers):
        source, changes = NETS[net]
        yield net, optimizer, load_recipe(source, changes | {"optimizer": OPTIMIZERS[optimizer]})


def on_images_at_hand(name: str, options: argparse.Namespace) -> Recipe:
    """A shipped recipe; on CIFAR-10's images, of the same shape, where its own can't be had."""
    changes = FROM_THE_START | ({"data.batch_size": options.batch_size} if options.batch_size else {})
    recipe = load_recipe(name, changes)
    try:
        data.load(recipe.data.dataset, options.data)
    except DataError:
        return load_recipe(name, changes | {"data.name": "cifar10"})
    return recipe


def climb(recipe: Recipe, options: argparse.Namespace) -> list[Row]:
    """Of each level and pair the row nearest to its bound."""
    steps = dict.fromkeys(options.backends, options.steps)
    if options.numpy_steps:
        steps["numpy"] = options.numpy_steps
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for backend, count in steps.items():
            choice = Options(backend, threads=options.threads, data_dir=options.data)
            paths += ladder.record_all(
                recipe.bind(), [choice], Ask(tuple(options.levels), count), Path(folder), lambda said: None
            )
        return worst(ladder.judge(paths).rows)


def summary(rows: list[Row]) -> list[str]:
    """A line for each level: the pair nearest to its bound."""
    lines = []
    for level in dict.fromkeys(row.level for row in rows):
        row = max((row for row in rows if row.level == level), key=lambda row: row.share)
        figures = f"{row.error:9.2g}{row.noise:9.2g}{row.allowed:9.2g}"
        verdict = "holds" if row.holds else "DOES NOT HOLD"
        lines.append(f"{level}  {', '.join(row.pair):18}{row.item:34}{figures}  {verdict}")
    return lines


if __name__ == "__main__":
    main()

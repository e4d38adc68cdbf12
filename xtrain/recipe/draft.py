"""A first recipe for a data set: every key with what it means, most of them commented out."""

import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from xtrain import data
from xtrain.data import DatasetInfo, image_folder
from xtrain.recipe import described
from xtrain.recipe.read import parse
from xtrain.recipe.recipe import Recipe

_WIDTH = 100
_SECTIONS = ("data", "model", "loss", "optimizer", "schedule", "stopping", "loop")
_HEAD = """\
# A recipe for {title}. It runs as it stands:
#   xtrain run {file}
# A key whose line begins with # has the value that is shown, or none; remove the # to change it.
# xtrain check {file} prints what each key becomes under each framework.
"""
_STOPPING = """
# Stop before the last epoch, for which a validation split is needed (data.validation):
# [stopping]
# monitor = "val_loss"
# patience = 10
"""


def draft(name: str, section: Mapping[str, Any], file: str) -> str:
    """A recipe as text that trains a small convolutional net on a data set.

    Args:
        name: of the recipe.
        section: the keys of `[data]` that say which data is meant.
        file: what the text will be called.

    Raises:
        DataError: one's own data is missing or malformed.
        RecipeError: no such recipe can be run.

    """
    values = _values(name, section, batch_size=1)
    about = data.info(parse(values, where=name).data.dataset)
    values = _values(name, section, _batch_size(about.train), layers(about))
    recipe = parse(values, where=name).bind(about, where=name).recipe
    parts = [
        _HEAD.format(title=about.title, file=file),
        *_keys(recipe, values, skip=(*_SECTIONS, "observers")),
    ]
    meant = described.keys(Recipe)
    for key in _SECTIONS:
        if key in values:
            parts += ["", f"# {meant[key][0].upper()}{meant[key][1:]}", f"[{key}]"]
            part = getattr(recipe, key)
            if key == "data":
                parts += _keys(part.dataset, values[key])
            parts += _keys(part, values[key], skip=("dataset",))
        elif key == "stopping":
            parts.append(_STOPPING)
    return "\n".join(parts).replace("\n\n\n", "\n\n") + "\n"


def folder_section(path: Path) -> dict[str, Any]:
    """The keys of `[data]` for a folder of images; `DataError` where it is not laid out as it should be."""
    section: dict[str, Any] = {"name": "image_folder", "path": str(path)}
    sizes = image_folder.sizes(image_folder.scan(path))
    sides = [side for size in sizes for side in size]
    if not sides or (len(sizes) == 1 and max(sides) <= _LARGEST):
        return section
    return section | {"image_size": min(_LARGEST, *sides), "fit": "center_crop"}


_LARGEST = 64
"""Pixels a side that images of several sizes, or large ones, get in a first recipe."""


def layers(about: DatasetInfo) -> list[dict[str, Any]]:
    """Convolutions, each with half the pixels and twice the channels of the one before; then a mean."""
    side, width, made = min(about.input_shape[1:]), 16, list[dict[str, Any]]()
    while width < 64 or side >= 8:
        width = min(2 * width, 256)
        made += [
            {"op": "conv2d", "out_channels": width, "kernel_size": 3, "padding": 1, "bias": False},
            {"op": "batch_norm2d"},
            {"op": "relu"},
        ]
        if side >= 8:
            made.append({"op": "max_pool2d", "kernel_size": 2})
        side //= 2
    return [
        *made,
        {"op": "adaptive_avg_pool2d"},
        {"op": "flatten"},
        {"op": "linear", "out_features": about.classes},
    ]


def _batch_size(images: int) -> int:
    """64, or for few images as many as make eight steps an epoch."""
    return max(1, min(64, images // 8))


def _values(
    name: str, section: Mapping[str, Any], batch_size: int, given: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    return {
        "name": name,
        "seed": 0,
        "data": {**section, "batch_size": batch_size},
        "model": {"layers": given or []},
        "loss": {"name": "cross_entropy"},
        "optimizer": {"name": "adam", "lr": 0.003},
        "schedule": {"name": "cosine"},
        "loop": {"epochs": 10},
    }


def _keys(part: Any, given: Mapping[str, Any], skip: tuple[str, ...] = ()) -> Iterator[str]:
    """Lines of each key of a section: what it means, and its value, commented out where it is the default."""
    texts = described.keys(type(part))
    for field in fields(part):
        key = field.name
        if key in skip or (key not in given and key == "name"):
            continue
        default = None if field.default is MISSING else field.default
        if key in texts:
            text = f"{key}: {texts[key]}"
            yield from textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="#   ")
        if key in given:
            yield f"{key} = {_toml(given[key])}"
        elif default is not None:
            yield f"# {key} = {_toml(default)}"


def _toml(value: Any) -> str:
    """A value of TOML in one line; a list of tables has a line for each."""
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{key} = {_toml(inner)}' for key, inner in value.items())} }}"
    if isinstance(value, list | tuple):
        if any(isinstance(inner, Mapping) for inner in value):
            return "\n".join(["[", *(f"  {_toml(inner)}," for inner in value), "]"])
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False)

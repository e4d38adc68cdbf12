"""What decides a run's numbers: the part of its recipe that no resume may change, and its hash."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from xtrain.recipe import Recipe, parse

_FREE = {
    "loop": ("epochs", "log_every", "checkpoint_every", "keep_last"),
    # Data is bound by its own hash, so that it may lie elsewhere; the first weights are in the checkpoint;
    # observers steer nothing.
    "data": ("path",),
    "": ("name", "init_from", "observers"),
}


def deciding(recipe: Recipe) -> dict[str, Any]:
    """The recipe's values without how long, how often, under which name and from where."""
    values = {key: value for key, value in recipe.to_dict().items() if key not in _FREE[""]}
    return {
        section: {key: inner for key, inner in value.items() if key not in _FREE.get(section, ())}
        if isinstance(value, dict)
        else value
        for section, value in values.items()
    }


def digest(values: object) -> str:
    """SHA-256 of plain values, however they are laid out."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def renewed(began: Mapping[str, Any], recipe: Recipe, where: object) -> dict[str, Any]:
    """What a run began with, as this xtrain reads it: with the defaults of keys that were not there then.

    Args:
        began: what `deciding` gave when the run was made.
        recipe: lends what does not decide.
        where: what errors name.

    """
    now = recipe.to_dict()
    values: dict[str, Any] = {key: now[key] for key in _FREE[""] if key in now} | dict(began)
    for section, free in _FREE.items():
        if section and isinstance(values.get(section), dict):
            lent = {key: now[section][key] for key in free if key in now[section]}
            values[section] = lent | values[section]
    return deciding(parse(values, where))


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """`optimizer.lr was 0.1, is 0.05`: one for each key whose value is another."""
    flat, again = dict(_flat(before)), dict(_flat(now))
    keys = [key for key in {**flat, **again} if flat.get(key) != again.get(key)]
    return [f"{key} was {_shown(flat, key)}, is {_shown(again, key)}" for key in keys]


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _shown(values: Mapping[str, Any], key: str) -> str:
    return json.dumps(values[key]) if key in values else "not there"

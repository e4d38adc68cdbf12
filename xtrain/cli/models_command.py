"""`xtrain models`: names and their options."""

from dataclasses import fields

import click

from xtrain import models
from xtrain.cli.tables import show


@click.command("models")
def command() -> int:
    """List the models with their options and defaults."""
    rows = []
    for name, family in models.FAMILIES.items():
        options = (f"{f.name} = {f.default!r}" for f in fields(family) if f.name != "name")
        rows.append((name, ", ".join(options), (family.__doc__ or "").strip().partition("\n")[0]))
    show("models", ("name", "options", "what"), rows)
    return 0

"""`xtrain models`: names and their options."""

import click

from xtrain import models
from xtrain.cli.tables import show


@click.command("models")
def command() -> int:
    """List the models with their options and defaults."""
    rows = []
    for name, family in models.MODELS.own.items():
        options = (f"{key} = {default!r}" for key, default in models.MODELS.keys(name).items())
        rows.append((name, ", ".join(options), (family.__doc__ or "").strip().partition("\n")[0]))
    rows += [(name, "", f"from {package}") for name, package in models.MODELS.offered().items()]
    show("models", ("name", "options", "what"), rows)
    return 0

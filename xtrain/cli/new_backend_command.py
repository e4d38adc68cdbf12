"""`xtrain new-backend`: the package that an author of a backend begins with."""

import shlex
from pathlib import Path

import click

from xtrain.conformance import template
from xtrain.system.distribution import package_command


@click.command("new-backend")
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Default: xtrain-NAME.")
def command(name: str, out: Path | None) -> int:
    """Write a package with a backend NAME that installs and refuses everything.

    The suite of `xtrain conformance` is its test: each lowering that is written turns rows of it from
    refused to passed. docs/writing-a-backend.md says in which order the files are written.
    """
    folder = out or Path(f"xtrain-{name}")
    template.write(name, folder)
    click.echo(f"{folder}: install it with {package_command(f'-e {shlex.quote(str(folder))}')}")
    click.echo(f"then see what it refuses: xtrain conformance --backend {name}")
    return 0

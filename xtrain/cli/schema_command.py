"""`xtrain schema`: what a recipe may say, as JSON Schema."""

import json
from pathlib import Path

import click

from xtrain.cli.options import write_text
from xtrain.recipe.schema import schema


@click.command("schema")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="A file; default: the screen.")
def command(out: Path | None) -> int:
    """Print the JSON Schema of a recipe, for an editor that completes and checks TOML.

    A recipe names it in its first line, as `#:schema ./recipe.schema.json` or with any other path.
    """
    text = json.dumps(schema(), indent=1) + "\n"
    if out is None:
        click.echo(text, nl=False)
        return 0
    write_text(out, text)
    click.echo(f"{out}: a recipe beside it names it in its first line as #:schema ./{out.name}")
    return 0

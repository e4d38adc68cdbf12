"""`xtrain init`: a first recipe for a data set or a folder of images."""

import re
import shlex
from pathlib import Path

import click

from xtrain import data
from xtrain.cli.options import write_text
from xtrain.errors import UsageError, suggest
from xtrain.recipe.draft import draft, folder_section


@click.command("init")
@click.argument("source", metavar="DATASET|FOLDER")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Default: NAME.toml.")
@click.option("--force", is_flag=True, help="Replace the file that is there.")
def command(source: str, out: Path | None, force: bool) -> int:
    """Write a commented recipe that trains on DATASET, or on the images of FOLDER, as it stands.

    A folder has train/CLASS/ and test/CLASS/ (or val/CLASS/) with PNG or JPEG files. The net is a small
    convolutional one that fits the size of the images.
    """
    if source in data.selectable():
        name, section = source, {"name": source}
    elif Path(source).is_dir():
        path = Path(source).absolute()
        name, section = _named_after(path.name), folder_section(path)
    else:
        raise UsageError(
            "there is no such data set or folder", where=source, remedy=suggest(source, data.selectable())
        )
    target = out or Path(f"{name}.toml")
    if target.exists() and not force:
        raise UsageError("exists", where=target, remedy="choose another --out, or replace it with --force")
    text = draft(name, section, shlex.quote(str(target)))
    write_text(target, text)
    click.echo(f"{target}: train it with xtrain run {shlex.quote(str(target))}")
    return 0


def _named_after(folder: str) -> str:
    """A recipe's name, which takes letters, digits, dots and dashes, from a folder's."""
    return re.sub(r"[^\w-]+", "-", folder).strip("-") or "images"

"""`xtrain curves`: several runs in one picture."""

from pathlib import Path

import click

from xtrain.errors import UsageError, XtrainError
from xtrain.runs.run import Run
from xtrain.training.observers.curves import draw


@click.command("curves")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default="curves.png", show_default=True)
def command(runs: tuple[Path, ...], out: Path) -> int:
    """Lay the losses and accuracies of RUNS over one another, as a picture."""
    found = [Run(path) for path in runs]
    for run in found:
        if not run.history:
            raise UsageError("has no records yet", where=run.path)
    try:
        draw(found, out)
    except (OSError, ValueError) as error:  # ValueError: of a format that is none
        raise XtrainError(f"can't be written: {error}", where=out) from error
    click.echo(out)
    return 0

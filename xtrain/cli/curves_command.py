"""`xtrain curves`: several runs in one picture."""

from pathlib import Path

import click

from xtrain.errors import UsageError, XtrainError
from xtrain.runs.picture import draw
from xtrain.runs.run import Run


@click.command("curves")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default="curves.png", show_default=True)
@click.option("--force", is_flag=True, help="Replace the picture that is there.")
def command(runs: tuple[Path, ...], out: Path, force: bool) -> int:
    """Lay the losses and accuracies of RUNS over one another, as a picture."""
    if out.exists() and not force:
        raise UsageError("exists", where=out, remedy="choose another --out, or replace it with --force")
    found = [Run(path) for path in runs]
    for run in found:
        if not run.history:
            raise UsageError("has no records yet", where=run.path)
        run.check_history()
    try:
        draw(found, out)
    except OSError as error:
        raise XtrainError(f"can't be written: {error.strerror}", where=out) from error
    except ValueError as error:  # the suffix is no format of a picture
        raise UsageError(f"can't be written: {error}", where=out) from error
    click.echo(out)
    return 0

"""`xtrain eval`: a run's checkpoint on the test split."""

from pathlib import Path
from typing import get_args

import click

from xtrain.cli.options import device_options
from xtrain.runs.run import locate
from xtrain.spec import Precision
from xtrain.system.machine import tune_memory
from xtrain.training import session
from xtrain.training.assembly import Options, chosen


@click.command("eval")
@click.argument("run", type=click.Path(path_type=Path))
@device_options
@click.option("--checkpoint", help="last, best or step-N; default: last.")
@click.option("--precision", type=click.Choice(get_args(Precision)), help="Default: the run's own.")
def command(
    run: Path,
    backend: str | None,
    device: str,
    threads: int | None,
    data_dir: Path | None,
    checkpoint: str | None,
    precision: Precision | None,
) -> int:
    """Evaluate RUN, by default under the backend that trained it."""
    tune_memory()
    found, name = locate(run)
    options, _ = chosen(Options(backend or "", device, threads, data_dir), found)
    name = checkpoint or name
    sums = session.evaluate_run(found, name, options, precision)
    click.echo(
        f"{found.recipe.name} {found.checkpoint(name).name} under {options.backend}: "
        f"test accuracy {sums.accuracy:.4f}, loss {sums.loss:.6f} over {sums.count} samples"
    )
    return 0

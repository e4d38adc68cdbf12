"""`xtrain eval`: a run's checkpoint on the test split."""

from pathlib import Path
from typing import get_args

import click

from xtrain.cli.options import device_options
from xtrain.errors import DataError
from xtrain.runs.checkpoint import step_of
from xtrain.runs.metrics import Record
from xtrain.runs.run import Run, locate, note
from xtrain.spec import Precision
from xtrain.system.machine import tune_memory
from xtrain.training import session
from xtrain.training.assembly import Options, chosen


@click.command("eval")
@click.argument("run", type=click.Path(path_type=Path))
@device_options("the one that trained it")
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
    """Evaluate RUN, by default under the backend that trained it.

    Where its data is not at hand any more, the figures that were recorded while it trained are shown, unless
    another backend or precision is asked for.
    """
    tune_memory()
    found, name = locate(run)
    options, _ = chosen(Options(backend or "", device, threads, data_dir), found)
    name = checkpoint or name
    which = f"{found.recipe.name} {found.checkpoint(name).name}"
    try:
        sums = session.evaluate_run(found, name, options, precision)
    except DataError as error:
        recorded = None if backend or precision else _recorded(found, name)
        if recorded is None:
            raise
        found.check_history()
        note(f"its data can't be used, these figures are as recorded: {error.where}: {error.problem}")
        accuracy, loss, rest = recorded["test_accuracy"], recorded["test_loss"], "as recorded"
    else:
        accuracy, loss, rest = sums.accuracy, sums.loss, f"over {sums.count} samples"
    click.echo(f"{which} under {options.backend}: test accuracy {accuracy:.4f}, loss {loss:.6f} {rest}")
    return 0


def _recorded(run: Run, name: str) -> Record | None:
    """What was recorded at the epoch that ended with the checkpoint."""
    step = step_of(run.checkpoint(name))
    return next((record for record in reversed(run.epochs) if record["step"] == step), None)

"""`xtrain run`: train a recipe, or resume a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from xtrain import plugins
from xtrain.cli.options import device_options, overrides, read_job, recipe_options
from xtrain.errors import UsageError
from xtrain.recipe import Job
from xtrain.recipe.observers import watched_by
from xtrain.runs.run import Run, locate
from xtrain.system.machine import tune_memory
from xtrain.training import session
from xtrain.training.assembly import Options, chosen
from xtrain.training.distributed import Joining
from xtrain.training.observers.progress import progress
from xtrain.training.observers.table import MARK, short
from xtrain.training.session import Outcome


@click.command("run")
@click.argument("recipe", required=False)
@device_options("$XTRAIN_BACKEND, else the first installed framework; of a resumed run its own")
@recipe_options
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Train in so many processes, which the framework's own launcher starts here.",
)
@click.option(
    "--exact", is_flag=True, help="Add up what several processes computed in their order, at some cost."
)
@click.option(
    "--deadline",
    type=click.FloatRange(min=1),
    default=300.0,
    show_default=True,
    help="Seconds that one of several processes waits for the others.",
)
@click.option("--epochs", type=click.IntRange(min=1), help="Instead of the recipe's loop.epochs.")
@click.option("--log-every", type=click.IntRange(min=1), help="Steps between two train records.")
@click.option("--out", type=click.Path(path_type=Path), help="Run directory; default: below runs/.")
@click.option(
    "--observe", "observe", multiple=True, metavar="NAME", help="Let an observer watch too; repeatable."
)
@click.option(
    "--resume", "resumed", type=click.Path(path_type=Path), help="A run, or one of its checkpoint folders."
)
def command(
    recipe: str | None,
    backend: str | None,
    device: str,
    threads: int | None,
    data_dir: Path | None,
    settings: tuple[str, ...],
    seed: int | None,
    processes: int,
    exact: bool,
    deadline: float,
    epochs: int | None,
    log_every: int | None,
    out: Path | None,
    observe: tuple[str, ...],
    resumed: Path | None,
) -> int:
    """Train RECIPE (a path, or the name of a shipped recipe), or go on with --resume RUN."""
    tune_memory()
    if recipe is not None and resumed is not None:
        raise UsageError(
            f"both a recipe ({recipe}) and --resume {resumed} are given: a run goes on with its own recipe",
            remedy="leave one out",
        )
    if recipe is None and resumed is None:
        raise UsageError(
            "give a recipe to train, or --resume RUN", remedy="xtrain recipes lists the shipped ones"
        )
    joining = Joining(deadline, exact)
    options = Options(backend or "", device, threads, data_dir, [progress()], processes, joining)
    changes = overrides(settings, seed, epochs=epochs, log_every=log_every)
    if resumed is not None:
        if out:
            raise UsageError("--resume goes on in the run's own directory: no --out")
        outcome = _resume(resumed, options, changes, observe)
    else:
        assert recipe is not None
        outcome = _train(watched_by(read_job(recipe, changes), observe), options, out)
    return 0 if outcome is None else _conclude(outcome)


def _train(job: Job, options: Options, out: Path | None) -> Outcome | None:
    options, why = chosen(options)
    reason, recipe = f" ({why})" if why else "", job.recipe
    _say(options, f"{recipe.name} under {options.backend}{reason}, seed {recipe.seed}")
    return session.train(job, options, out)


def _resume(
    path: Path, options: Options, changes: Mapping[str, Any], observe: Sequence[str]
) -> Outcome | None:
    run, name = locate(path)
    job = watched_by(run.job_with(changes), observe)
    options, _ = chosen(options, run)
    _say(options, f"{job.recipe.name} under {options.backend}, going on in {run.path}")
    return session.resume(run, name, options, job)


def _say(options: Options, text: str) -> None:
    """Say it once, where a launcher has started several of these commands."""
    if plugins.placed(options.backend).rank == 0:
        several = f", {options.processes} processes" if options.processes > 1 else ""
        click.echo(f"{text}{several}")


def _conclude(outcome: Outcome) -> int:
    run = outcome.run
    if outcome.idle:
        click.echo(f"nothing to do: {outcome.idle}")
    if not outcome.finished:
        click.echo(f"stopped after step {outcome.step}, saved; go on with: xtrain run --resume {run.path}")
        return 130
    click.echo(closing(run))
    return 0


def closing(run: Run) -> str:
    """The best epoch by what is watched; time, and where the run lies."""
    best, recipe = run.best, run.recipe
    if best is None:
        return f"no figures are recorded in {run.path}"  # its metrics.jsonl was taken away
    monitor = recipe.loop.monitor or "test_accuracy"
    watched = "" if monitor == "test_accuracy" else f" {short(best[monitor])}"
    seconds = sum(session.get("seconds", 0.0) for session in run.sessions)
    restored = "its weights were taken back, " if recipe.stopping and recipe.stopping.restore_best else ""
    return (
        f"{MARK} best by {monitor}{watched}: epoch {best['epoch']} of {run.epochs[-1]['epoch']}, "
        f"test accuracy {best['test_accuracy']:.4f}, loss {short(best['test_loss'])}\n"
        f"{restored}{seconds:.1f} s, in {run.path}"
    )

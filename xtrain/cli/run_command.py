"""`xtrain run`: train a recipe, or resume a run."""

from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console

from xtrain import plugins, session
from xtrain.cli.options import device_options, read_recipe, recipe_options
from xtrain.errors import UsageError
from xtrain.observers.progress import progress
from xtrain.rundir import Run, locate
from xtrain.session import Options, Outcome


@click.command("run")
@click.argument("recipe", required=False)
@device_options
@recipe_options
@click.option("--epochs", type=click.IntRange(min=1), help="Instead of the recipe's loop.epochs.")
@click.option("--log-every", type=click.IntRange(min=1), help="Steps between two train records.")
@click.option("--out", type=click.Path(path_type=Path), help="Run directory; default: below runs/.")
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
    epochs: int | None,
    log_every: int | None,
    out: Path | None,
    resumed: Path | None,
) -> int:
    """Train RECIPE (a path, or the name of a shipped recipe), or go on with --resume RUN."""
    console = Console(soft_wrap=True)
    if (recipe is None) == (resumed is None):
        raise UsageError(
            "give a recipe to train, or --resume RUN", remedy="xtrain recipes lists the shipped ones"
        )
    options = Options(backend or "", device, threads, data_dir, [progress(Console())])
    if resumed is not None:
        if out or seed is not None or not all(text.startswith("loop.") for text in settings):
            raise UsageError(
                "--resume goes on as the run began: no --out, no --seed, and --set for keys of loop only"
            )
        outcome = _resume(console, resumed, options, settings, {"epochs": epochs, "log_every": log_every})
    else:
        assert recipe is not None
        chosen = read_recipe(recipe, settings, seed, epochs=epochs, log_every=log_every)
        options, why = _choose(options)
        console.print(f"{chosen.name} under {options.backend}{why}, seed {chosen.seed}", highlight=False)
        outcome = session.train(chosen, options, out)
    return _conclude(console, outcome)


def _resume(
    console: Console, path: Path, options: Options, settings: tuple[str, ...], loop: dict[str, int | None]
) -> Outcome:
    run, name = locate(path)
    recipe = read_recipe(run.path / "recipe.toml", settings, None, **loop)
    if not options.backend and run.sessions:
        last = run.sessions[-1]
        options = replace(options, backend=last["backend"], threads=options.threads or last["threads"])
    options, why = _choose(options)
    console.print(f"{recipe.name} under {options.backend}{why}, going on in {run.path}", highlight=False)
    return session.resume(run, name, options, recipe)


def _choose(options: Options) -> tuple[Options, str]:
    if options.backend:
        return options, ""
    name, why = plugins.default()
    return replace(options, backend=name), f" ({why})"


def _conclude(console: Console, outcome: Outcome) -> int:
    run = outcome.run
    if not outcome.finished:
        console.print(f"stopped after step {outcome.step}, saved; go on with: xtrain run --resume {run.path}")
        return 130
    console.print(final_line(run), highlight=False)
    return 0


def final_line(run: Run) -> str:
    """Accuracy, loss, time, where the run lies."""
    last = run.epochs[-1]
    seconds = sum(session.get("seconds", 0.0) for session in run.sessions)
    return (
        f"test accuracy {last['test_accuracy']:.4f}, loss {last['test_loss']:.4f}, "
        f"{seconds:.1f} s, in {run.path}"
    )

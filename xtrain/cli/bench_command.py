"""`xtrain bench`: how fast a recipe trains under each backend, beside loops written by hand."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from xtrain.bench import bench, chart, native
from xtrain.bench.bench import Result
from xtrain.bench.trial import Limit, Trial
from xtrain.cli.options import (
    backends_of,
    folder_of_now,
    make_folder,
    place_options,
    read_recipe,
    recipe_options,
)
from xtrain.cli.tables import show
from xtrain.errors import MissingError, XtrainError
from xtrain.system.files import write_atomically
from xtrain.system.machine import environment
from xtrain.training.assembly import Options

_PARTS = ("input", "dispatch", "compute", "read")


@click.command("bench")
@click.argument("recipe")
@click.option("--backends", help="Comma-separated; default: all that are installed.")
@click.option(
    "--against",
    default="",
    metavar="LOOPS",
    help="Loops written by hand: native, tutorial, resident, lightning, keras; comma-separated.",
)
@click.option("--repeats", type=click.IntRange(min=1), default=3, show_default=True, help="Trials of each.")
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=Limit.steps,
    show_default=True,
    help="Of a trial, after a warm-up.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=Limit.seconds,
    show_default=True,
    help="A trial ends after so many where its steps take longer.",
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Default: bench/RECIPE-TIME.")
@place_options
@recipe_options
def command(
    recipe: str,
    backends: str | None,
    against: str,
    repeats: int,
    steps: int,
    seconds: float,
    out: Path | None,
    device: str,
    threads: int | None,
    data_dir: Path | None,
    settings: tuple[str, ...],
    seed: int | None,
) -> None:
    """Time RECIPE's training steps under each backend, data loading included.

    Trials are interleaved, each in a process of its own. Writes bench.json, with every trial, and bench.png.
    """
    job = read_recipe(recipe, settings, seed)
    choices = [Options(name, device, threads, data_dir) for name in backends_of(backends, device)]
    names = [name.strip() for name in against.split(",") if name.strip()]
    loops = native.chosen(names, job.recipe, [options.backend for options in choices])
    folder = out or folder_of_now("bench", job.recipe.name)
    make_folder(folder)
    result = bench.run(job, choices, loops, Limit(steps, seconds), repeats, click.echo)
    packages = ("numpy", *(loop.script for loop in loops))
    facts = {"recipe": job.recipe.to_toml(), "threads": threads, "environment": environment(packages)}
    try:
        written = json.dumps(facts | result.to_dict(), indent=1) + "\n"
        write_atomically(folder / "bench.json", written)
        picture = _draw(job.recipe.name, result, folder / "bench.png")
    except OSError as error:
        raise XtrainError(f"the result can't be written: {error.strerror}", where=folder) from error
    _show(result)
    click.echo(f"every trial: {folder / 'bench.json'}{picture}")


def _draw(name: str, result: Result, path: Path) -> str:
    """Draw the bars; what to say of it. The figures are worth more than their picture."""
    try:
        chart.save(name, result, path)
    except MissingError as error:
        return f"\nno bench.png: {error}"
    return f"   picture: {path}"


def _show(result: Result) -> None:
    """What a step takes and of what it is made; the rest; ratios."""
    headers: tuple[str, ...] = ("", "images/s", "ms a step", "lowest", "highest", *_PARTS, "trainer")
    rows = [_step(f"xtrain {name}", trials, result) for name, trials in result.own.items()]
    rows += [_step(name, trials, result) for name, trials in result.by_hand.items()]
    show("training (medians; parts of a step in ms)", headers, rows, right=range(1, len(headers)))
    headers = ("", "start-up s", "first step s", "evaluation images/s", "peak memory MiB")
    both = {f"xtrain {name}": trials for name, trials in result.own.items()} | result.by_hand
    rows = [(name, *_rest(trials)) for name, trials in both.items()]
    show("the rest (medians)", headers, rows, right=range(1, len(headers)))
    if result.by_hand:
        headers = ("step of", *(f"xtrain {name}" for name in result.own))
        title = "of xtrain's step by that of a loop (median; of single repeats)"
        show(title, headers, _ratios(result), right=range(1, len(headers)))


def _step(name: str, trials: Sequence[Trial], result: Result) -> tuple[str, ...]:
    spread, each = result.step(trials), {part: _median(trials, part, per_step=True) for part in _PARTS}
    known = [value for value in each.values() if value is not None]
    left = max(0.0, spread.median - sum(known)) if known else None
    rate = trials[0].samples / spread.median
    times = (spread.median, spread.lowest, spread.highest, *each.values(), left)
    return (name, f"{rate:,.0f}", *(_number(value, 1e3, 2) for value in times))


def _rest(trials: Sequence[Trial]) -> Iterator[str]:
    yield _number(_median(trials, "start_up"), 1, 1)
    yield _number(_median(trials, "first_step"), 1, 2)
    yield _number(_median(trials, "evaluation"), 1, 0)
    yield _number(_median(trials, "peak_memory"), 1 / 2**20, 0)


def _ratios(result: Result) -> Iterator[tuple[str, ...]]:
    for loop in result.by_hand:
        spreads = (result.ratio(backend, loop) for backend in result.own)
        cells = (f"{s.median:.3f} ({s.lowest:.3f} to {s.highest:.3f})" for s in spreads)
        yield (loop, *cells)


def _median(trials: Sequence[Trial], figure: str, per_step: bool = False) -> float | None:
    values = [
        getattr(trial, figure) / (trial.steps if per_step else 1)
        for trial in trials
        if getattr(trial, figure) is not None
    ]
    return bench.Spread.of(values).median if values else None


def _number(value: float | None, scale: float, digits: int) -> str:
    return "" if value is None else f"{value * scale:,.{digits}f}"

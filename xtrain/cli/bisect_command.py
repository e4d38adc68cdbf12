"""`xtrain bisect`: where two backends diverge first, and the probable cause."""

from pathlib import Path

import click

from xtrain.cli.options import backends_of, place_options, read_recipe, recipe_options
from xtrain.errors import UsageError
from xtrain.parity import bisect
from xtrain.parity.bench import require_float32
from xtrain.training.assembly import Options


@click.command("bisect")
@click.argument("recipe")
@click.option("--backends", required=True, help="Two: the one that leads, and the one that follows it.")
@click.option("--steps", default="1,2,3,10", show_default=True, help="Which steps are taken apart.")
@place_options
@recipe_options
def command(
    recipe: str,
    backends: str,
    steps: str,
    device: str,
    threads: int | None,
    data_dir: Path | None,
    settings: tuple[str, ...],
    seed: int | None,
) -> int:
    """Take steps of RECIPE apart and find the first tensor that two backends compute differently.

    Data, forward layer by layer, loss, backward, optimizer, buffers, and the step as a whole; every phase of
    the second backend starts from what the first had. Exit code 0 where they agree, else 1.
    """
    names = backends_of(backends, device)
    if len(names) != 2:
        raise UsageError(f"--backends {backends}: give two, separated by a comma")
    job = read_recipe(recipe, settings, seed)
    require_float32(job.recipe)
    first, second = (Options(name, device, threads, data_dir) for name in names)
    found = bisect.bisect(job, first, second, _numbers(steps))
    if found is None:
        click.echo(f"{names[0]} and {names[1]} do not diverge in steps {steps}")
        return 0
    row = found.row
    layer = f", layer {found.layer}" if found.layer else ""
    click.echo(f"step {found.step}, {found.phase}{layer}: {row.item} is the first of {len(found.outside)}")
    click.echo(
        f"  difference {row.error:.3g}, noise {row.noise:.3g}, allowed {row.allowed:.3g} "
        f"between {names[0]} and {names[1]}"
    )
    for cause in found.causes:
        click.echo(f"  probable cause: {cause}")
    if not found.causes:
        click.echo("  no known difference explains it")
    return 1


def _numbers(text: str) -> list[int]:
    try:
        numbers = sorted({int(number) for number in text.split(",")})
    except ValueError:
        numbers = [0]
    if numbers[0] < 1:
        raise UsageError(f"--steps {text}: give numbers from 1 on, separated by commas")
    return numbers

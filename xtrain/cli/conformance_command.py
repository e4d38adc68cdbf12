"""`xtrain conformance`: the suite that every backend must pass."""

import click

from xtrain import homes
from xtrain.conformance import main


@click.command("conformance", context_settings={"ignore_unknown_options": True})
@click.option("--backend", required=True, help="Name of the backend under test.")
@click.option("--device", default="auto", show_default=True)
@click.option("--threads", type=click.IntRange(min=1))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[PYTEST ARGUMENTS]...")
def command(backend: str, device: str, threads: int | None, arguments: tuple[str, ...]) -> int:
    """Compare a backend with the NumPy reference, layer by layer, optimizer by optimizer.

    --json FILE writes a report, and a badge beside it; --quick leaves out rows of which most is found by
    others. -k WORD, -x, -n 4 and other arguments are pytest's.
    """
    given = ["--backend", backend, "--device", device]
    given += ["--threads", str(threads)] if threads else []
    if homes.find(backend):
        return homes.call(backend, main, [*given, *arguments])
    return main([*given, *arguments])

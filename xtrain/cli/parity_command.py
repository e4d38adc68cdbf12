"""`xtrain parity`: the same recipe under several backends, level by level, each figure beside its noise."""

from pathlib import Path

import click

from xtrain.cli.options import (
    backends_of,
    folder_of_now,
    make_folder,
    place_options,
    read_recipe,
    recipe_options,
)
from xtrain.cli.tables import show
from xtrain.errors import UsageError, XtrainError, suggest
from xtrain.parity import ladder, page
from xtrain.parity.bench import require_float32
from xtrain.parity.certificate import Certificate
from xtrain.parity.compare import worst
from xtrain.parity.outcome import MARGIN
from xtrain.parity.trace import LEVELS, Ask
from xtrain.parity.verify import differences, elsewhere, to_the_bit
from xtrain.recipe import shipped
from xtrain.training.assembly import Options

_SHARE = click.FloatRange(0, 1, min_open=True)


@click.command("parity")
@click.argument("subjects", nargs=-1, required=True, metavar="RECIPE | TRACE TRACE... | FILE")
@click.option("--record", "mode", flag_value="record", help="Only record traces of RECIPE.")
@click.option("--compare", "mode", flag_value="compare", help="Compare TRACEs that were recorded anywhere.")
@click.option("--verify", "mode", flag_value="verify", help="Rerun what FILE, a parity.json, says.")
@click.option("--backends", help="Comma-separated; default: all that are installed.")
@click.option("--levels", default="P0-P5", show_default=True, help="Such as P0-P3 or P1,P5.")
@click.option("--steps", type=click.IntRange(min=1), help="Of the trajectory; default: an epoch.")
@click.option("--seeds", type=click.IntRange(min=2), default=5, show_default=True, help="Of level P6.")
@click.option(
    "--margin",
    type=_SHARE,
    default=MARGIN,
    show_default=True,
    help="Of level P6, a fraction of 1.",
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Default: parity/RECIPE-TIME.")
@place_options
@recipe_options
def command(
    subjects: tuple[str, ...],
    mode: str | None,
    backends: str | None,
    levels: str,
    steps: int | None,
    seeds: int,
    margin: float,
    out: Path | None,
    device: str,
    threads: int | None,
    data_dir: Path | None,
    settings: tuple[str, ...],
    seed: int | None,
) -> int:
    """Train RECIPE under several backends and say, level by level, whether the numbers are the same.

    P0 configuration, P1 batches, P2 forward and loss, P3 gradients, P4 the optimizer alone, P5 the
    trajectory, P6 the outcome over seeds. Exit code 0 where every level holds, 1 where one does not.
    """
    if mode == "compare":
        folder = out or folder_of_now("parity", "compared")
        return _conclude(ladder.judge(_traces(subjects), margin), folder)
    if len(subjects) > 1:
        raise UsageError(
            f"one {'certificate' if mode == 'verify' else 'recipe'}, not {len(subjects)}",
            remedy="traces are compared with --compare",
        )
    if mode == "verify":
        return _verify(Path(subjects[0]), out or folder_of_now("parity", "verified"), data_dir)
    job = read_recipe(subjects[0], settings, seed)
    require_float32(job.recipe)
    folder = out or folder_of_now("parity", job.recipe.name)
    choices = [Options(name, device, threads, data_dir) for name in backends_of(backends, device)]
    if mode != "record" and len(choices) < 2:
        raise UsageError(
            f"one backend compares with nothing: {choices[0].backend}", remedy="name two or more"
        )
    ask = Ask(_levels(levels), steps, seeds)
    if mode != "record":
        ladder.require(ask)
    make_folder(folder)
    paths = ladder.record_all(job, choices, ask, folder / "traces", click.echo)
    if mode == "record":
        click.echo(f"traces: {' '.join(map(str, paths))}")
        return 0
    return _conclude(ladder.judge(paths, margin), folder)


def _conclude(certificate: Certificate, folder: Path) -> int:
    make_folder(folder)
    try:
        certificate.save(folder / "parity.json")
        page.save(certificate, folder / "parity.html")
    except OSError as error:
        raise XtrainError(f"the certificate can't be written: {error.strerror}", where=folder) from error
    headers = ("level", "backends", "nearest to its bound", "difference", "noise", "allowed", "")
    show("", headers, (page.cells(row) for row in worst(certificate.rows)), right=(3, 4, 5))
    failed = sum(not row.holds for row in certificate.rows)
    verdict = f"{failed} do not hold" if failed else "all hold"
    click.echo(f"{len(certificate.rows)} figures, {verdict}: {folder / 'parity.html'}")
    return 0 if certificate.holds else 1


def _verify(path: Path, folder: Path, data_dir: Path | None) -> int:
    before = Certificate.load(path)
    now = ladder.again(before, data_dir, folder / "traces", click.echo)
    _conclude(now, folder)
    found, exact = differences(before, now), to_the_bit(before, now)
    confirmed = (
        "the same numbers to the bit" if exact else "within the bounds, not to the bit: it was made elsewhere"
    )
    for line in [*elsewhere(before, now), *(found or [confirmed])]:
        click.echo(line)
    was = "held" if before.holds else "did not hold"
    click.echo(f"{path}: {was} then, {'holds' if now.holds else 'does not hold'} now")
    return 0 if now.holds and not found else 1


def _traces(subjects: tuple[str, ...]) -> list[Path]:
    """Paths of what --compare was given; `UsageError` where one is a recipe or another file."""
    for subject in subjects:
        path = Path(subject)
        if not path.is_dir() and (subject in shipped() or path.is_file()):
            kind = "recipe" if path.suffix in ("", ".toml") else "file"
            raise UsageError(
                f"is a {kind}, not a trace: --compare takes the folders that --record wrote",
                where=subject,
                remedy="compare traces: xtrain parity --compare TRACE TRACE; "
                "record and compare: xtrain parity RECIPE",
            )
    return [Path(subject) for subject in subjects]


def _levels(text: str) -> tuple[str, ...]:
    found: set[str] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        for level in (first, last or first):
            if level not in LEVELS:
                raise UsageError(f"--levels {text}: no level {level!r}", remedy=suggest(level, LEVELS))
        span = LEVELS[LEVELS.index(first) : LEVELS.index(last or first) + 1]
        if not span:
            raise UsageError(f"--levels {text}: in {part} the lower level comes first")
        found.update(span)
    return tuple(level for level in LEVELS if level in found)

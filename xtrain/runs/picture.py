"""Loss and accuracy by step as a picture: of one run, or of several over one another."""

import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xtrain.system.distribution import need
from xtrain.system.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from xtrain.runs.run import Run


def draw(runs: Sequence["Run"], path: Path) -> None:
    """Write a picture of the runs to `path`, replacing what is there at once.

    Raises:
        OSError: the file can't be written.
        ValueError: its suffix is no format of a picture.

    """
    picture = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a name's letters, drawn as boxes
        figure_of(runs).savefig(picture, dpi=110, format=path.suffix[1:] or "png")
    write_atomically(path, picture.getvalue())


def shown_figure(runs: Sequence["Run"]) -> "Figure":
    """`figure_of`, which a notebook shows as a picture."""
    figure = figure_of(runs)

    def png() -> bytes:
        picture = io.BytesIO()
        figure.savefig(picture, dpi=80, format="png")
        return picture.getvalue()

    figure._repr_png_ = png  # type: ignore[attr-defined]  # what IPython asks an object for
    return figure


def figure_of(runs: Sequence["Run"]) -> "Figure":
    """Losses and accuracies of the runs: each run has a colour, each split a line style."""
    need("matplotlib", "plot", "a picture")
    # matplotlib takes a second to load; the object interface leaves its global state alone.
    from matplotlib import colormaps  # noqa: PLC0415
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    title, names = labels(runs)
    columns = max(1, min(4, _LETTERS // (max(map(len, names)) + 8)))  # 8: the line before a name
    figure = Figure(figsize=(10, 4.3 + _ROW * -(-len(runs) // columns)), layout="constrained")
    FigureCanvasAgg(figure)
    losses, accuracies = figure.subplots(1, 2)
    several = colormaps["tab10"] if len(runs) <= 10 else colormaps["turbo"].resampled(len(runs))
    colors = [several(place) for place in range(len(runs))]
    for run, color in zip(runs, colors, strict=True):
        train = run.train
        steps = [record["step"] for record in train]
        losses.plot(steps, [record["loss"] for record in train], color=color, lw=0.8, alpha=0.3)
        for split, line in _LINES.items():
            _plot(losses, run, f"{split}_loss", color=color, ls=line)
            _plot(accuracies, run, f"{split}_accuracy", color=color, ls=line)
    for axes, label in ((losses, "loss"), (accuracies, "accuracy")):
        axes.set(xlabel="step", title=label)
        axes.grid(alpha=0.3)
    figure.suptitle(title)
    _legends(figure, runs, dict(zip(names, colors, strict=True)), columns)
    return figure


def _legends(figure: "Figure", runs: Sequence["Run"], colors: Mapping[str, Any], columns: int) -> None:
    """Say beside the axes, where it hides no curve, what line styles and colours are."""
    from matplotlib.lines import Line2D  # noqa: PLC0415

    known = {key for run in runs for record in run.epochs for key in record}
    styles = [
        Line2D([], [], color="0.3", ls=line, label=split)
        for split, line in _LINES.items()
        if f"{split}_loss" in known  # none is before the first epoch ends
    ]
    if styles:
        figure.legend(handles=styles, loc="outside upper right", ncols=len(styles), fontsize="small")
    if len(runs) > 1:
        lines = [Line2D([], [], color=color, label=name) for name, color in colors.items()]
        figure.legend(handles=lines, loc="outside lower center", ncols=columns, fontsize="small")


def labels(runs: Sequence["Run"]) -> tuple[str, list[str]]:
    """A title of what all runs share, and for each run what it differs by.

    That is the recipe's name, the backend and the seed; where these are not enough the directory too.
    """
    nets = [run.setting("name") for run in runs]
    used = [run.about.last_used or ("no backend", None) for run in runs]  # one of format 0 may name none
    backends = [f"under {backend}" for backend, _ in used]
    seeds = [f"seed {run.setting('seed')}" for run in runs]
    shared = [words[0] for words in (nets, backends) if len(set(words)) == 1]
    differing = [words for words in (nets, backends, seeds) if len(set(words)) > 1]
    names = [", ".join(words) for words in zip(*differing, strict=True)] or [""] * len(runs)
    if len(set(names)) < len(runs):
        folders = [run.path.name for run in runs]
        if len(set(folders)) < len(runs):
            folders = [str(run.path) for run in runs]
        names = [", ".join(filter(None, both)) for both in zip(names, folders, strict=True)]
    return " ".join(shared) or f"{len(runs)} runs", names


_LINES = {"train": "--", "val": ":", "test": "-"}
_LETTERS = 140
"""How many fit into a row of the legend."""
_ROW = 0.22
"""Inches that such a row takes."""


def _plot(axes: Any, run: "Run", figure: str, **style: Any) -> None:
    known = [record for record in run.epochs if figure in record]
    if known:
        steps = [record["step"] for record in known]
        axes.plot(steps, [record[figure] for record in known], marker="o", ms=3, **style)

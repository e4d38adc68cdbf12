"""Loss and accuracy by step as a picture: of a run when a session ends, or of several over one another."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xtrain.runs.run import Run
from xtrain.training.observers import Observer


class Curves(Observer):
    """Draws from the run's own records, so a resumed run shows all its sessions."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def stop(self) -> None:
        """Draw `curves.png`, if there is anything to show."""
        if self._run.epochs or self._run.train:
            draw([self._run], self._run.path / "curves.png")


def draw(runs: Sequence[Run], path: Path) -> None:
    """Write a picture of the runs to `path`: each has a colour, each split a line style."""
    # matplotlib takes a second to load; the object interface leaves its global state alone.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    losses, accuracies = figure.subplots(1, 2)
    titles = [f"{run.recipe.name} under {run.sessions[-1]['backend']}" for run in runs]
    for place, (run, title) in enumerate(zip(runs, titles, strict=True)):
        color = f"C{place % 10}"
        prefix = f"{title}, " if len(runs) > 1 else ""
        train = run.train
        steps = [record["step"] for record in train]
        losses.plot(steps, [record["loss"] for record in train], color=color, lw=0.8, alpha=0.3)
        for split, line in _LINES.items():
            _plot(losses, run, f"{split}_loss", color=color, ls=line, label=f"{prefix}{split}")
            _plot(accuracies, run, f"{split}_accuracy", color=color, ls=line, label=f"{prefix}{split}")
    for axes, title in ((losses, "loss"), (accuracies, "accuracy")):
        axes.set(xlabel="step", title=title)
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:  # none before the first epoch ends
            axes.legend(fontsize="small")
    figure.suptitle(" and ".join(titles) if len(runs) <= 2 else f"{len(runs)} runs")
    figure.savefig(path, dpi=110)


_LINES = {"train": "--", "val": ":", "test": "-"}


def _plot(axes: Any, run: Run, figure: str, **style: str) -> None:
    known = [record for record in run.epochs if figure in record]
    if known:
        steps = [record["step"] for record in known]
        axes.plot(steps, [record[figure] for record in known], marker="o", ms=3, **style)

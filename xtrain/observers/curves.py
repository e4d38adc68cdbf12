"""curves.png: loss and accuracy over the whole run, drawn when a session ends."""

from xtrain.observers import Observer
from xtrain.rundir import Run


class Curves(Observer):
    """Draws from the run's own records, so a resumed run shows all its sessions."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def stop(self) -> None:
        """Draw, if there is anything to show."""
        if self._run.epochs or self._run.train:
            draw(self._run)


def draw(run: Run) -> None:
    """Write `curves.png` into the run's directory."""
    # matplotlib takes a second to load; the object interface leaves its global state alone.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    losses, accuracies = figure.subplots(1, 2)
    train, epochs = run.train, run.epochs
    losses.plot(
        [r["step"] for r in train], [r["loss"] for r in train], lw=1, alpha=0.5, label="train, logged"
    )
    for kind in ("train", "val", "test"):
        if not any(f"{kind}_loss" in record for record in epochs):
            continue
        steps = [record["step"] for record in epochs]
        losses.plot(steps, [record[f"{kind}_loss"] for record in epochs], marker="o", label=kind)
        accuracies.plot(steps, [record[f"{kind}_accuracy"] for record in epochs], marker="o", label=kind)
    for axes, title in ((losses, "loss"), (accuracies, "accuracy")):
        axes.set(xlabel="step", title=title)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(f"{run.recipe.name} under {run.sessions[-1]['backend']}")
    figure.savefig(run.path / "curves.png", dpi=110)

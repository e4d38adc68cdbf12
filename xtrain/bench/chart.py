"""Images in a second as bars."""

from pathlib import Path
from typing import TYPE_CHECKING

from xtrain.bench.bench import Result, Spread
from xtrain.system.distribution import need

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save(title: str, result: Result, path: Path) -> None:
    """Write the figure as a PNG."""
    figure_of(title, result).savefig(path, dpi=110)


def figure_of(title: str, result: Result) -> "Figure":
    """A bar for each contestant, from the lowest to the highest trial a line across its end."""
    need("matplotlib", "plot", "a picture")
    # matplotlib takes a second to load; the object interface leaves its global state alone.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    bars = [(f"xtrain {name}", trials, "C0") for name, trials in result.own.items()]
    bars += [(name, trials, "C7") for name, trials in result.by_hand.items()]
    rates = [Spread.of([trial.rate for trial in trials]) for _, trials, _ in bars]
    figure = Figure(figsize=(8, 1 + 0.4 * len(bars)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.barh(
        [name for name, _, _ in bars],
        [rate.median for rate in rates],
        color=[color for *_, color in bars],
        xerr=[
            [rate.median - rate.lowest for rate in rates],
            [rate.highest - rate.median for rate in rates],
        ],
    )
    for place, rate in enumerate(rates):
        axes.text(rate.highest, place, f"  {rate.median:,.0f}", va="center", fontsize="small")
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set(xlabel="images in a second of training, data loading included", title=title)
    axes.grid(axis="x", alpha=0.3)
    return figure

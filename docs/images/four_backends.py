"""Draws four-backends.png: trains one recipe under every backend and lays the losses over one another.

uv run --all-extras python docs/images/four_backends.py
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import xtrain

RECIPE, STEPS = "digits_cnn", 300
STYLES = {"numpy": ("black", 5, "-"), "torch": ("tab:orange", 3, "-"), "paddle": ("tab:cyan", 1.6, "-")}
STYLES["mindspore"] = ("tab:red", 0.8, "--")


def main() -> None:
    """Train, then draw losses above and their relative distance to the reference below."""
    with tempfile.TemporaryDirectory() as folder:
        losses = {backend: train(backend, Path(folder) / backend) for backend in STYLES}
    figure = Figure(figsize=(10, 5), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    steps = np.arange(1, STEPS + 1)
    for backend, (color, width, line) in STYLES.items():
        above.plot(steps, losses[backend], color=color, lw=width, ls=line, label=backend)
        if backend != "numpy":
            distance = np.abs(losses[backend] / losses["numpy"] - 1)
            below.semilogy(steps, np.maximum(distance, 1e-9), color=color, lw=1.2)
    above.set(ylabel="training loss", title=f"{RECIPE}: each of the first {STEPS} steps, dropout on")
    above.legend()
    below.set(xlabel="step", ylabel="relative distance\nto numpy float64")
    for axes in (above, below):
        axes.grid(alpha=0.3)
    figure.savefig(Path(__file__).with_name("four-backends.png"), dpi=110)


def train(backend: str, out: Path) -> np.ndarray:
    """The loss of each step."""
    options = ["--backend", backend, "--log-every", "1", "--epochs", "14", "--out", str(out)]
    subprocess.run([sys.executable, "-m", "xtrain", "run", RECIPE, *options], check=True, capture_output=True)
    return np.array([record["loss"] for record in xtrain.Run(out).train[:STEPS]])


if __name__ == "__main__":
    main()

"""What the native loops share, so that all are told and timed alike: command line, clock, report."""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

try:
    import resource
except ImportError:  # not on Windows
    resource = None

T = TypeVar("T")

BATCH_SIZE = 64
WARM_UP = 20  # steps that `--steps` leaves out of its seconds per step
STYLES = ("tutorial", "resident")
DATASETS = {"mnist_mlp": "mnist", "cifar10_lenet": "cifar10", "cifar10_simplecnn": "cifar10"}


def arguments(
    framework: str, styles: Sequence[str] = STYLES, without: Sequence[str] = ()
) -> argparse.Namespace:
    """The command line of every native loop; one may have fewer styles, and refuse options."""
    parser = argparse.ArgumentParser(description=f"A task written by hand for {framework}.")
    parser.add_argument("task", choices=DATASETS)
    parser.add_argument("--style", choices=styles, required=True)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="has mnist/ and cifar10/")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--steps", type=int, help="end each epoch after so many steps; no evaluation then")
    parser.add_argument("--seconds", type=float, help="with --steps: or so many seconds after the warm-up")
    parser.add_argument(
        "--weights", type=Path, help="initial weights, .npz or .safetensors, as PyTorch has them"
    )
    parser.add_argument(
        "--order", type=Path, help="sample orders, .npy: int64 [epochs, N]; resident style only"
    )
    parser.add_argument("--losses", type=Path, metavar="JSON", help="read every step's loss; write them here")
    options = parser.parse_args()
    for name in without:
        if getattr(options, name) is not None:
            parser.error(f"--{name}: the loop for {framework} has no such option")
    if options.order and options.style == "tutorial":
        parser.error("--order goes with --style resident: the tutorials' loaders shuffle for themselves")
    return options


def read_weights(path: Path) -> dict[str, NDArray[np.float32]]:
    """Arrays by PyTorch's names and in its layouts: `fc1.weight` is out x in, `conv1.weight` OIHW."""
    if path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        return load_file(path)
    with np.load(path) as arrays:
        return dict(arrays)


def read_orders(path: Path | None) -> NDArray[np.int64] | None:
    """Sample orders, int64 [epochs, N], or None where the loop is to draw its own."""
    return np.load(path) if path else None


class Clock:
    """Times epochs, from asking for the first batch to the last loss being read.

    The loss is read every 100 steps in the tutorial style, as the tutorials do, else at the end of an epoch.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.epoch_seconds: list[float] = []
        self.step_seconds: list[float] = []
        self.losses: list[float] = []
        self.steps = 0
        self._limit: int | None = options.steps
        self._seconds: float | None = options.seconds
        self._keep = options.losses is not None
        self._read_every = 100 if options.style == "tutorial" else 0
        self._loss: Any = None
        self._warm = 0.0

    def epoch(self, batches: Iterable[T]) -> Iterator[T]:
        """The batches of one epoch, timed."""
        self.steps = 0
        start = time.perf_counter()
        for batch in islice(batches, self._limit):
            yield batch
            if self._late():
                break
        self._loss.item()
        end = time.perf_counter()
        self.epoch_seconds.append(end - start)
        if self._limit and self.steps > WARM_UP:
            self.step_seconds.append((end - self._warm) / (self.steps - WARM_UP))

    def step(self, loss: Any) -> None:
        """After a step: read its loss where that is due, which also waits for a framework that runs ahead."""
        self._loss = loss
        if self._keep:
            self.losses.append(float(loss.item()))
        elif self._read_every and self.steps % self._read_every == 0:
            loss.item()
        self.steps += 1
        if self._limit and self.steps == WARM_UP:
            loss.item()
            self._warm = time.perf_counter()

    def _late(self) -> bool:
        """True where steps take longer than there is time for."""
        if self._seconds is None or self.steps <= WARM_UP:
            return False
        return time.perf_counter() - self._warm > self._seconds


def report(
    framework: str, options: argparse.Namespace, clock: Clock, samples: int, accuracy: float | None
) -> None:
    """Print the one line of JSON."""
    record: dict[str, Any] = {
        "framework": framework,
        "task": options.task,
        "style": options.style,
        "epoch_seconds": clock.epoch_seconds,
        "steps": clock.steps,
        "steps_per_epoch": -(-samples // BATCH_SIZE),
        "test_accuracy": accuracy,
    }
    if resource:
        unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
        record["peak_memory"] = unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if clock.step_seconds:
        record["seconds_per_step"] = clock.step_seconds
    if options.losses:
        record["losses"] = clock.losses
        options.losses.write_text(json.dumps(clock.losses), encoding="utf-8")
    print(json.dumps(record), flush=True)

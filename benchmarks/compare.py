"""Epoch times of xtrain beside the hand-written loops, interleaved, each trial in a process of its own."""

import argparse
import os
from collections.abc import Iterator
from dataclasses import asdict
from statistics import median
from typing import Any

import trials

CONTESTANTS = ("tutorial", "resident", "xtrain")
Key = tuple[str, str, str]  # task, backend, contestant


class Measured:
    """Every trial so far, and what they come to."""

    def __init__(self) -> None:
        self.trials: list[dict[str, Any]] = []

    def add(self, key: Key, repeat: int, load: float, trial: trials.Trial) -> None:
        task, backend, contestant = key
        record = {"task": task, "backend": backend, "contestant": contestant, "repeat": repeat}
        self.trials.append(record | {"load_before": round(load, 2)} | asdict(trial))

    def of(self, key: Key) -> list[dict[str, Any]]:
        names = ("task", "backend", "contestant")
        return [trial for trial in self.trials if tuple(trial[name] for name in names) == key]

    def summary(self) -> list[dict[str, Any]]:
        """Seconds of all epochs of all trials, for each task, backend and contestant."""
        keys = dict.fromkeys((trial["task"], trial["backend"], trial["contestant"]) for trial in self.trials)
        return [self._row(key) for key in keys]

    def _row(self, key: Key) -> dict[str, Any]:
        own = self.of(key)
        seconds = [value for trial in own for value in trial["epoch_seconds"]]
        return {
            "task": key[0],
            "backend": key[1],
            "contestant": key[2],
            "median": median(seconds),
            "min": min(seconds),
            "max": max(seconds),
            "epochs": len(seconds),
            "extrapolated": any(trial["extrapolated"] for trial in own),
        }

    def ratios(self) -> list[dict[str, Any]]:
        """xtrain's median over a baseline's; lowest and highest are of the trials of one repeat."""
        rows = {(row["task"], row["backend"], row["contestant"]): row for row in self.summary()}
        found = []
        for (task, backend, contestant), row in rows.items():
            if contestant != "xtrain":
                continue
            baselines = [
                (task, backend, "tutorial"),
                (task, backend, "resident"),
                (task, "torch", "resident"),
            ]
            for base in dict.fromkeys(baselines):
                if base in rows:
                    pairs = list(self._pairs((task, backend, "xtrain"), base))
                    found.append(
                        {
                            "task": task,
                            "ratio": f"{backend} / {base[1]} {base[2]}",
                            "of_medians": row["median"] / rows[base]["median"],
                            "lowest": min(pairs, default=None),
                            "highest": max(pairs, default=None),
                            "extrapolated": rows[base]["extrapolated"],
                        }
                    )
        return found

    def _pairs(self, key: Key, base: Key) -> Iterator[float]:
        by_repeat = {trial["repeat"]: median(trial["epoch_seconds"]) for trial in self.of(base)}
        for trial in self.of(key):
            if trial["repeat"] in by_repeat:
                yield median(trial["epoch_seconds"]) / by_repeat[trial["repeat"]]


def schedule(options: argparse.Namespace) -> list[tuple[int, Key]]:
    """All trials in the order they run: within a repeat every contestant has its turn."""
    return [
        (repeat, (task, backend, contestant))
        for task in options.tasks
        for repeat in range(options.repeats)
        for backend in options.backends
        for contestant in options.contestants
        if contestant == "xtrain" or trials.has_native(backend)
    ]


def run(key: Key, options: argparse.Namespace) -> trials.Trial:
    """One trial."""
    task, backend, contestant = key
    if contestant == "xtrain":
        return trials.xtrain(backend, task, options.data, options.epochs)
    sample = dict(options.sample).get(backend)
    return trials.native(backend, task, contestant, options.data, options.epochs, sample=sample)


def table(measured: Measured) -> str:
    """Seconds, then ratios."""
    lines = [f"{'':50}{'median':>10}{'min':>10}{'max':>10}{'epochs':>8}   (seconds of an epoch)"]
    for row in measured.summary():
        name = f"{row['task']:18} {row['backend']} {row['contestant']}"
        figures = "".join(f"{row[key]:10.2f}" for key in ("median", "min", "max"))
        lines.append(f"{name:50}{figures}{row['epochs']:8}{_mark(row)}")
    lines += ["", f"{'':50}{'ratio':>10}{'lowest':>10}{'highest':>10}   (of medians; of single repeats)"]
    for row in measured.ratios():
        figures = "".join(f"{row[key]:10.3f}" for key in ("of_medians", "lowest", "highest") if row[key])
        lines.append(f"{row['task']:18} {row['ratio']:<31}{figures}{_mark(row)}")
    return "\n".join(lines)


def _mark(row: dict[str, Any]) -> str:
    return "   extrapolated" if row["extrapolated"] else ""


def _sample(text: str) -> tuple[str, int]:
    backend, _, steps = text.partition("=")
    if int(steps) < 1:
        raise ValueError(text)
    return backend, int(steps)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    trials.add_arguments(parser)
    parser.add_argument("--tasks", nargs="+", choices=trials.TASKS, default=list(trials.TASKS))
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=1, help="of each trial")
    parser.add_argument(
        "--sample",
        type=_sample,
        action="append",
        default=[],
        metavar="BACKEND=STEPS",
        help="measure so many steps of that framework's native loops and extrapolate; repeatable",
    )
    return parser.parse_args()


def main() -> None:
    options = arguments()
    path = trials.result_path(options.results, options.name, "compare")
    measured, turns = Measured(), schedule(options)
    about = {"environment": trials.environment(), "repeats": options.repeats, "epochs": options.epochs}
    for turn, (repeat, key) in enumerate(turns, 1):
        load = os.getloadavg()[0]
        trial = run(key, options)
        measured.add(key, repeat, load, trial)
        seconds = ", ".join(f"{value:.2f}" for value in trial.epoch_seconds)
        print(f"{turn}/{len(turns)}  {' '.join(key)}: {seconds} s", flush=True)
        # After every trial, so that hours of work outlive a failure.
        result = about | {
            "summary": measured.summary(),
            "ratios": measured.ratios(),
            "trials": measured.trials,
        }
        trials.write(path, result)
    print(f"\n{table(measured)}\n\nin {path}")


if __name__ == "__main__":
    main()

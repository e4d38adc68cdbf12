"""One trial each of a native loop and of xtrain, in a process of its own; and how results are kept."""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from xtrain.system import machine

HERE = Path(__file__).parent
BACKENDS = ("torch", "paddle", "mindspore")

_PACKAGES = ("xtrain", "numpy", "torch", "torchvision", "paddlepaddle", "mindspore")


@dataclass(frozen=True)
class Trial:
    """What one process measured.

    Args:
        epoch_seconds: of each epoch, data loading included, evaluation not.
        test_accuracy: after the last epoch, of 1.

    """

    epoch_seconds: list[float]
    test_accuracy: float


def has_native(backend: str) -> bool:
    """True where there is a hand-written loop to compare with."""
    return _script(backend).exists()


def native(
    backend: str,
    task: str,
    style: str,
    data: Path,
    epochs: int,
    *,
    start: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
) -> Trial:
    """Run a hand-written loop.

    Args:
        backend: torch, paddle or mindspore.
        task: one of `xtrain.bench.native.TASKS`.
        style: tutorial or resident.
        data: has mnist/ and cifar10/.
        epochs: how many.
        start: `--weights` and `--order` with their values.
        variables: of the environment, for this process.

    """
    command = [sys.executable, str(_script(backend)), task, "--style", style, "--data", str(data.resolve())]
    command += ["--epochs", str(epochs), *start]
    record = json.loads(_output(command, variables or {}).splitlines()[-1])
    return Trial(record["epoch_seconds"], record["test_accuracy"])


def xtrain(
    backend: str,
    recipe: str,
    data: Path | None,
    epochs: int,
    *,
    seed: int = 0,
    nudged: bool = False,
    threads: int | None = None,
) -> Trial:
    """Run `xtrain run` and read its metrics; `nudged` as nudged.py has it."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        program = [str(HERE / "nudged.py")] if nudged else ["-m", "xtrain"]
        command = [sys.executable, *program, "run", recipe, "--backend", backend, "--out", str(out)]
        command += ["--epochs", str(epochs), "--seed", str(seed)]
        command += ["--threads", str(threads)] if threads else []
        command += ["--data-dir", str(data.resolve())] if data else []
        _output(command, {})
        records = map(json.loads, (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
        ended = [record for record in records if record["kind"] == "epoch"]
    return Trial([record["train_seconds"] for record in ended], ended[-1]["test_accuracy"])


def environment() -> dict[str, Any]:
    """Versions and machine, without its name or a path."""
    return machine.environment(_PACKAGES)


def result_path(folder: Path, name: str | None, kind: str) -> Path:
    """<date>-<name>.json, with a number where that is taken; a name that says nothing of the host."""
    stem = f"{date.today():%Y-%m-%d}-{name or f'{kind}-{machine.usable_cores()}-cores-{platform.machine()}'}"
    path, number = folder / f"{stem}.json", 1
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}.json"
    return path


def write(path: Path, result: Mapping[str, Any]) -> None:
    """Keep a result, whole at any moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".tmp")
    aside.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    aside.replace(path)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that the scripts here share."""
    folder = os.environ.get("XTRAIN_DATA")
    parser.add_argument("--backends", nargs="+", default=list(BACKENDS))
    parser.add_argument(
        "--data",
        type=Path,
        default=folder and Path(folder),
        required=not folder,
        metavar="DIR",
        help="has mnist/ and cifar10/; default: $XTRAIN_DATA",
    )
    parser.add_argument("--results", type=Path, default=HERE / "results", metavar="DIR")
    parser.add_argument("--name", help="of the result, after the date; default: kind, cores and architecture")


def _script(backend: str) -> Path:
    return HERE / "native" / f"{backend}_native.py"


def _output(command: Sequence[str], variables: Mapping[str, str]) -> str:
    # A folder of its own, because MindSpore leaves files in the working directory.
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True, check=False
        )
    if done.returncode:
        sys.exit(f"{' '.join(command)}\nended with code {done.returncode}:\n{done.stderr[-3000:]}")
    return done.stdout

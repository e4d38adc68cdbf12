"""The Python API: what the command line does, in a call."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from xtrain import plugins
from xtrain.errors import UsageError, XtrainError
from xtrain.recipe import Recipe, load_recipe, parse
from xtrain.runs.run import Run, locate
from xtrain.spec import Precision
from xtrain.training import session
from xtrain.training.observers.progress import progress
from xtrain.training.session import Options


def run(
    recipe: Recipe | str | Path | None = None,
    *,
    backend: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    data_dir: str | Path | None = None,
    quiet: bool = False,
) -> Run:
    """Train a recipe, or go on with a run, and return the run.

    Where this process has loaded another framework already, or its settings, the training happens in a
    process of its own.

    Args:
        recipe: a `Recipe`, a path, or the name of a shipped one; None with `resume`.
        backend: its name; by default as on the command line.
        device: `auto`, `cpu`, `gpu[:i]` or `ascend[:i]`.
        threads: how many the framework may use; by default the backend's choice.
        overrides: values by dotted key, such as `{"optimizer.lr": 0.1}`; with `resume`, of `loop` only.
        out: the run directory; by default one below `runs/`.
        resume: a run directory or one of its checkpoint folders.
        data_dir: where data sets are looked for first.
        quiet: no progress.

    """
    if (recipe is None) == (resume is None):
        raise UsageError("give a recipe to train, or resume=")
    place, name = locate(resume) if resume is not None else (None, "last")
    chosen = _recipe(recipe, place, overrides or {})
    observers = [] if quiet else [progress(Console())]
    asked = Options(backend or "", device, threads, Path(data_dir) if data_dir else None, observers)
    options, _ = session.chosen(asked, place)
    target = Path(out) if out else None
    if _occupied(options, chosen):
        return _in_a_process(chosen, options, target, place, name)
    if place:
        return session.resume(place, name, options, chosen).run
    return session.train(chosen, options, target).run


def evaluate(
    run: Run | str | Path,
    *,
    backend: str | None = None,
    checkpoint: str = "last",
    device: str = "auto",
    threads: int | None = None,
    data_dir: str | Path | None = None,
    precision: Precision | None = None,
) -> dict[str, float]:
    """`{"loss": ..., "accuracy": ...}` of a run's checkpoint on the test split, under any backend.

    In the run's own precision, if no other is given.
    Runs in this process: `UsageError` where another backend's framework is loaded already.
    """
    place = run if isinstance(run, Run) else Run(run)
    asked = Options(backend or "", device, threads, Path(data_dir) if data_dir else None)
    options, _ = session.chosen(asked, place)
    if _occupied(options, place.recipe):
        raise UsageError(
            f"this process has loaded another framework than {options.backend}'s, or other settings",
            remedy=f"in a process of its own: xtrain eval {place.path} --backend {options.backend}",
        )
    sums = session.evaluate_run(place, checkpoint, options, precision)
    return {"loss": sums.loss, "accuracy": sums.accuracy}


def _recipe(recipe: Recipe | str | Path | None, place: Run | None, overrides: Mapping[str, Any]) -> Recipe:
    if place:
        return place.recipe_with(overrides)
    if isinstance(recipe, Recipe):
        return parse(recipe.to_dict(), "recipe", overrides)
    assert recipe is not None
    return load_recipe(recipe, overrides)


def _occupied(options: Options, recipe: Recipe) -> bool:
    """True where this process can't become the backend's any more."""
    backend = plugins.load(options.backend, options.device, options.threads)
    return plugins.occupied(backend, backend.environment(recipe.model_spec, options.threads))


def _in_a_process(recipe: Recipe, options: Options, out: Path | None, place: Run | None, name: str) -> Run:
    """The same through the command line, in a fresh interpreter."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["--backend", options.backend, "--device", options.device]
        arguments += ["--threads", str(options.threads)] if options.threads else []
        arguments += ["--data-dir", str(options.data_dir)] if options.data_dir else []
        if place:
            target = place.checkpoint(name) if name != "last" else place.path
            arguments += ["--resume", str(target)]
            for key, value in asdict(recipe.loop).items():
                arguments += ["--set", f"loop.{key}={json.dumps(value)}"] if value is not None else []
        else:
            path = Path(folder) / f"{recipe.name}.toml"
            path.write_text(recipe.to_toml(), encoding="utf-8")
            out = out or session.new_path(recipe.name, options.backend)
            arguments += [str(path), "--out", str(out)]
        done = subprocess.run(
            [sys.executable, "-m", "xtrain", "run", *arguments],
            stdout=None if options.observers else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    if done.returncode == 130:
        raise KeyboardInterrupt
    if done.returncode:
        # Frameworks may have said something before.
        lines = f"\n{done.stderr.strip()}".rpartition("\nerror: ")[2].strip()
        kind = UsageError if done.returncode == UsageError.exit_code else XtrainError
        raise kind(lines or f"the training process ended with code {done.returncode}")
    return place or Run(out or "")

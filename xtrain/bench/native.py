"""Loops written by hand, as processes of their own: scripts of benchmarks/native, and of other packages.

A backend of another package brings its own, NAME_native.py beside its modules. It has one style, arrays in
memory, and may import `harness` and `arrays` of benchmarks/native, which are put on its path.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xtrain import homes, plugins
from xtrain.bench.trial import WARM_UP, Limit, Trial
from xtrain.data.files import roots
from xtrain.errors import UsageError, XtrainError, suggest
from xtrain.recipe import Recipe, load_recipe
from xtrain.system import distribution

TASKS = ("mnist_mlp", "cifar10_lenet", "cifar10_simplecnn")
"""The shipped recipes that were written by hand."""
STYLES = ("tutorial", "resident")
"""A framework's own Dataset and DataLoader with two workers; or normalised arrays in memory."""

_SUFFIX = "_native.py"


@dataclass(frozen=True)
class Loop:
    """One of them: a script and its style."""

    script: str
    style: str

    def __str__(self) -> str:
        return f"{self.script} {self.style}"


def chosen(names: Sequence[str], recipe: Recipe, backends: Sequence[str]) -> list[Loop]:
    """The loops that are asked for.

    Args:
        names: `native` for both styles of each backend, one of `STYLES`, or a script that is no backend's.
        recipe: must be one of `TASKS`, as it is shipped.
        backends: whose scripts are meant; one without a script has none.

    """
    scripts = _scripts()
    own = [backend for backend in backends if backend in scripts]
    found: list[Loop] = []
    for name in names:
        styles = STYLES if name == "native" else (name,)
        if name in scripts:
            found.append(Loop(name, "resident"))
        elif set(styles) <= set(STYLES):
            found += [
                Loop(each, style) for each in own for style in _styles(scripts[each]) if style in styles
            ]
        else:
            remedy = suggest(name, ["native", *STYLES, *sorted(scripts)])
            raise UsageError(f"--against {name}: there is no such loop", remedy=remedy)
    if names and not found:
        raise UsageError(f"--against {','.join(names)}: nobody wrote a loop for {', '.join(backends)}")
    if found and (recipe.name not in TASKS or recipe != load_recipe(recipe.name)):
        raise UsageError(
            f"nobody wrote {recipe.name} by hand as this recipe has it",
            remedy=f"--against goes with {', '.join(TASKS)}, unchanged",
        )
    return list(dict.fromkeys(found))


def measure(loop: Loop, recipe: Recipe, data_dir: Path | None, limit: Limit) -> Trial:
    """Run a loop for so many steps, or so many seconds."""
    python = str(homes.find(loop.script) or sys.executable)
    command = [python, str(_scripts()[loop.script]), recipe.name]
    command += ["--style", loop.style, "--data", str(_data(recipe, data_dir))]
    command += ["--steps", str(WARM_UP + limit.steps), "--seconds", str(limit.seconds)]
    on_path = os.environ.get("PYTHONPATH")
    with tempfile.TemporaryDirectory() as folder:  # MindSpore leaves files in the working directory
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(_folder()), on_path)))},
        )
    if done.returncode:
        raise XtrainError(f"the loop {loop} ended with code {done.returncode}:\n{done.stderr[-2000:]}")
    record = json.loads(done.stdout.splitlines()[-1])
    steps, [seconds] = record["steps"] - WARM_UP, record["seconds_per_step"]
    return Trial(steps, recipe.data.batch_size, seconds * steps, peak_memory=record.get("peak_memory"))


def _scripts() -> dict[str, Path]:
    """By name of the backend, or of what is no backend."""
    ours = {path.name.removesuffix(_SUFFIX): path for path in _folder().glob(f"*{_SUFFIX}")}
    brought = {name: plugins.beside(name, f"{name}{_SUFFIX}") for name in plugins.names()}
    return {name: path for name, path in brought.items() if path} | ours


def _styles(script: Path) -> tuple[str, ...]:
    """Another package's loop keeps its arrays in memory."""
    return STYLES if script.parent == _folder() else ("resident",)


def _folder() -> Path:
    """Where our scripts lie."""
    return distribution.shipped("native", "benchmarks/native")


def _data(recipe: Recipe, data_dir: Path | None) -> Path:
    """The root below which the data set lies."""
    held = [root for root in roots(data_dir) if (root / recipe.data.name).is_dir()]
    if not held:
        raise UsageError(f"no data directory has {recipe.data.name}", remedy="give it with --data-dir")
    return held[0]

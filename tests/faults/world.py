"""A folder with a small run, things of a user's in and beside it, and the commands that go on with it."""

import contextlib
import hashlib
import io
import json
import os
import shutil
import stat
from pathlib import Path

import numpy as np

from tests.command import Done
from xtrain import cli
from xtrain.errors import XtrainError
from xtrain.runs import picture
from xtrain.runs.run import Run
from xtrain.training.assembly import Options, chosen

RECIPE = """
name = "small"
seed = 4
data = {{ name = "npz", path = "{path}", batch_size = 8, validation = {{ fraction = 0.25 }} }}
model = {{ name = "mlp", hidden = [6], dropout = 0.2 }}
optimizer = {{ name = "adam", lr = 0.03, ema = 0.9 }}
schedule = {{ name = "plateau", patience = 0, factor = 0.5 }}
stopping = {{ patience = 2, restore_best = true }}
loop = {{ epochs = 9, log_every = 2, checkpoint_every = 2, keep_last = 2, monitor = "val_loss" }}
"""
INSIDE = {
    ".gitignore": "*\n",
    ".run.json.swp": "an editor's",
    "notes.txt": "a user's",
    "checkpoints/step-50 (copy)/weights.safetensors": "a copy",
    "checkpoints/.step-2.bak": "kept",
}
"""Files of a user's inside the run, by path."""
BESIDE = {
    "notes.txt": "beside",
    ".new-other.1/run.json": "{}",
    "run-2/checkpoints/.step-2.1/weights.safetensors": "of another run",
    "elsewhere/.step-2.12/a.txt": "canary",
    "elsewhere/step-2/progress.json": "canary",
    "elsewhere/.run.json.12": "canary",
}
"""Files of a user's beside the run, some with names like those that xtrain makes and removes."""


class World:
    """`home/run`, `home/...` beside it and the data, below `root`."""

    def __init__(self, root):
        self.root, self.home, self.run = root, root / "home", root / "home" / "run"
        self.recipe, self.settings = root / "small.toml", ()

    @classmethod
    def new(cls, root):
        """With everything but a run."""
        world = cls(root)
        written(world.home, BESIDE)
        random = np.random.default_rng(1)
        images = random.integers(0, 256, (2, 40, 5, 5), dtype=np.uint8)
        labels = images[:, :, 0, 0] // 128
        np.savez(root / "data.npz", x_train=images[0], y_train=labels[0], x_test=images[1], y_test=labels[1])
        world.recipe.write_text(RECIPE.format(path=root / "data.npz"), encoding="utf-8")
        return world

    def back_to(self, run):
        """The run is a copy of another, or none."""
        shutil.rmtree(self.run, ignore_errors=True)
        if run:
            shutil.copytree(run, self.run, symlinks=True)

    def tidy(self):
        """Remove what was moved out of a run."""
        moved = self.home / "elsewhere" / "moved"
        if moved.is_dir():
            shutil.rmtree(moved)
        moved.unlink(missing_ok=True)

    def train(self):
        """Begin the run."""
        where = ("--backend", "numpy", "--threads", "1", "--out", self.run)
        return command("run", self.recipe, *where, *self.settings)

    def go_on(self):
        """What a user does after a crash: the same command where there is no run, else a resume."""
        if self.is_free():
            return self.train()
        return command("run", "--resume", self.run)

    def backend(self):
        """The one that a resume would take."""
        if self.is_free():
            return "numpy"
        try:
            return chosen(Options(), Run(self.run))[0].backend
        except XtrainError as error:
            return f"none: {error}"

    def is_free(self):
        """True where nothing is in the run's place, or an empty directory."""
        return not self.run.exists() or not any(self.run.iterdir())

    def furnish(self):
        """Put a user's files into the run, where there is one, and give their names."""
        if self.is_free():
            return []
        written(self.run, INSIDE)
        return list(INSIDE)

    def lost(self, names):
        """Those of the user's files in the run that are missing or changed."""
        return [name for name in names if _read(self.run / name) != INSIDE[name]]

    def outside(self):
        """Everything below `root` that is not the run's."""
        return {
            name: found for name, found in tree(self.root).items() if not f"{name}/".startswith("home/run/")
        }

    def state(self):
        """What has to be the same as in the run left alone; seconds and sessions are not."""
        last, best = (self.run / "checkpoints" / name for name in ("last", "best"))
        found = {name: _read(path) for name, path in (("last", last), ("best", best))}
        for path in sorted((self.run / "checkpoints").glob("step-*")):
            if (path / "progress.json").is_file():
                found |= {f"{path.name} {name}": digest(path / f"{name}.safetensors") for name in _TENSORS}
                found[f"{path.name} progress"] = _timeless(json.loads(_read(path / "progress.json")))
        lines = map(json.loads, _read(self.run / "metrics.jsonl").splitlines())
        about = json.loads(_read(self.run / "run.json"))
        sessions = about.pop("sessions")
        found |= {"metrics": list(map(_timeless, lines)), "about": about}
        found |= {"recipe": _read(self.run / "recipe.toml"), "end": sessions[-1]["exit"]}
        found["files"] = sorted(set(tree(self.run)) - INSIDE.keys() - {"checkpoints/step-50 (copy)"})
        return found


_TENSORS = ("weights", "optimizer")


def written(folder, files):
    """Write files by their paths below a folder."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def tree(folder):
    """What lies below a folder: kind, mode and content by path. Nothing is followed."""
    found = {}
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(parent, name)
            mode = path.lstat().st_mode
            content = os.readlink(path) if stat.S_ISLNK(mode) else digest(path) if stat.S_ISREG(mode) else ""
            found[str(path.relative_to(folder))] = (mode, content)
    return found


def digest(path):
    """SHA-256 of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def command(*arguments):
    """`xtrain` in this process, which the caller forked for it."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main([*map(str, arguments)])
        except SystemExit as error:
            code = error.code
    return Done(code, out.getvalue(), err.getvalue())


def quick(patch):
    """Take out what costs time and is not looked at: the picture's pixels, and the C library's heap."""
    patch.setattr(picture, "figure_of", Picture)
    patch.setattr(os, "fsync", lambda handle: None)  # to be killed takes nothing from the system's cache
    patch.setenv("XTRAIN_TUNE_MEMORY", "0")
    patch.setenv("XTRAIN_BACKEND", "torch")  # whatever is installed, a run of NumPy's must not become its


class Picture:
    """Stands for a figure: the records that would be drawn."""

    def __init__(self, runs):
        self._title = picture.labels(runs)
        self._records = [[_timeless(record) for record in run.history] for run in runs]

    def savefig(self, file, **options):
        """As matplotlib's does."""
        file.write(json.dumps([self._title, self._records]).encode())


def _read(path):
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _timeless(values):
    """Without seconds, and without hashes over them."""
    if isinstance(values, dict):
        return {
            key: _timeless(inner)
            for key, inner in values.items()
            if "seconds" not in key and key not in ("metrics", "sha256")
        }
    return values

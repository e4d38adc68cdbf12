"""Ways to damage a run's directory, drawn by a seeded generator: bytes, files, values, links, hashes."""

import json
import os
import shutil
import tomllib

import numpy as np
import tomli_w
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from world import digest

ODD = [
    None,
    True,
    -1,
    0,
    10**30,
    -(10**400),
    1e308,
    float("nan"),
    float("inf"),
    "",
    "..",
    "/",
    "\0",
    "x" * 999,
]
ODD += ["\ud800", "../../elsewhere/step-2", [], {}, [[]], {"": {}}, ["a", 1], "numpy", 3, 0.5, "step-2"]
DEEP = 100_000


class Damage:
    """Seeded changes of a run.

    Args:
        seed: of the choices.
        world: whose run is damaged.
        kinds: what is chosen from.

    """

    def __init__(self, seed, world, kinds=None):
        self._kinds = kinds or KINDS
        self.random, self.run, self.elsewhere = (
            np.random.default_rng(seed),
            world.run,
            world.home / "elsewhere",
        )

    def __call__(self):
        """Do it, once or several times over, and say what."""
        return "; ".join(self._once() for _ in range(1 if self.random.random() < 0.8 else 3))

    def _once(self):
        kind = self.one(self._kinds)
        try:
            return kind(self)
        except (OSError, ValueError, LookupError, RecursionError, SafetensorError) as error:
            return f"{kind.__name__}: {type(error).__name__}"  # an earlier one was in the way

    def one(self, items):
        """One of some items."""
        items = list(items)
        return items[int(self.random.integers(len(items)))]

    def path(self, folders=True):
        """A file of the run, or also a folder."""
        paths = sorted(path for path in self.run.rglob("*") if path.is_symlink() or path.is_file() or folders)
        files = [path for path in paths if path.is_file() and not path.is_symlink()]
        return self.one(paths if folders else files or paths)

    def put(self, values):
        """Another value somewhere in nested ones; its key and it."""
        owner, key = self.one(_places(values))
        owner[key] = self.one(ODD)
        return key, owner[key]

    def name(self, path):
        """As the text has it."""
        return str(path.relative_to(self.run))


def flip(self):
    """Change a bit of a file, put bytes in or take some out."""
    path = self.path(folders=False)
    content = bytearray(path.read_bytes() if path.is_file() else b"")
    at, kind = int(self.random.integers(len(content) + 1)), self.one(["flip", "insert", "delete"])
    if kind == "flip" and content:
        content[at % len(content)] ^= 1 << int(self.random.integers(8))
    elif kind == "insert":
        content[at:at] = self.random.bytes(int(self.random.integers(1, 9)))
    else:
        del content[at : at + int(self.random.integers(1, 9))]
    path.write_bytes(content)
    return f"{kind} {self.name(path)} at {at}"


def digit(self):
    """Change one digit of a text."""
    path = self.one(_texts(self.run))
    content = bytearray(path.read_bytes())
    digits = [at for at, byte in enumerate(content) if chr(byte).isdigit()]
    if digits:
        at = self.one(digits)
        content[at] = ord("0") + (content[at] - ord("0") + 1) % 10
        path.write_bytes(content)
    return f"a digit of {self.name(path)}"


def cut(self):
    """Cut a file."""
    path = self.path(folders=False)
    size = int(self.random.integers(path.stat().st_size + 1)) if path.is_file() else 0
    path.write_bytes(path.read_bytes()[:size])
    return f"cut {self.name(path)} to {size}"


def swap(self):
    """Swap two files."""
    first, second = self.path(folders=False), self.path(folders=False)
    contents = first.read_bytes(), second.read_bytes()
    second.write_bytes(contents[0])
    first.write_bytes(contents[1])
    return f"swap {self.name(first)} and {self.name(second)}"


def delete(self):
    """Remove a file or a folder."""
    path = self.path()
    _remove(path)
    return f"delete {self.name(path)}"


def replace(self):
    """Put another kind of thing in the place of a file or folder."""
    path, kind = self.path(), self.one(["folder", "file", "link", "link outside", "link to itself", "fifo"])
    _remove(path)
    match kind:
        case "folder":
            path.mkdir()
        case "file":
            path.write_bytes(b"x")
        case "link":
            path.symlink_to(self.one(sorted(self.run.iterdir())) if any(self.run.iterdir()) else "x")
        case "link outside":
            path.symlink_to(self.one([self.elsewhere, *sorted(self.elsewhere.rglob("*"))]))
        case "link to itself":
            path.symlink_to(path.name)
        case _:
            os.mkfifo(path)
    return f"{kind} for {self.name(path)}"


def moved_out(self):
    """Move a file or folder out of the run and leave a link."""
    path = self.path()
    outside = self.elsewhere / "moved"
    if outside.exists():
        return "nothing"
    path.rename(outside)
    path.symlink_to(outside)
    return f"link to the moved {self.name(path)}"


def rename(self):
    """Give a checkpoint another name, or a file that of something that was being written."""
    path = self.one(_checkpoints(self.run)) if self.random.random() < 0.7 else self.path()
    names = ["step-2", "step-999999999999", "step-04", "step-0", ".step-8.1", ".old-step-8.1", "best", "x"]
    target = path.with_name(self.one([*names, f".{path.name}.7", f".old-{path.name}.7"]))
    if target.exists() or target.is_symlink():
        _remove(target)
    path.rename(target)
    return f"{self.name(path)} is {target.name}"


def value(self):
    """Another value in a JSON or TOML file."""
    path = self.one(_texts(self.run, "last", "best"))
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".toml":
        values = tomllib.loads(text)
        key, new = self.put(values)
        try:
            text = tomli_w.dumps(values)
        except (TypeError, ValueError):  # what TOML has no word for
            return "nothing"
    elif path.suffix == ".jsonl":
        lines = text.splitlines() or ["{}"]
        at = int(self.random.integers(len(lines)))
        record = json.loads(lines[at])
        key, new = self.put(record)
        lines[at] = json.dumps(record)
        text = "\n".join(lines) + "\n"
    else:
        values = json.loads(text)
        key, new = self.put(values)
        text = json.dumps(values)
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    return f"{self.name(path)}: {key} = {str(new)[:30]!r}"


def nest(self):
    """Nest a JSON or TOML file beyond reason."""
    path = self.one(_texts(self.run))
    if path.suffix == ".toml":
        path.write_text("x = " + "[" * DEEP + "]" * DEEP)
    else:
        path.write_text('{"a":' * DEEP + "1" + "}" * DEEP)
    return f"nested {self.name(path)}"


def mode(self):
    """Take rights away from a file or folder, or give them."""
    path, bits = self.path(), self.one([0, 0o100, 0o200, 0o400, 0o500, 0o777, 0o7777])
    path.chmod(bits)
    return f"mode {bits:o} for {self.name(path)}"


def pointer(self):
    """Let `last` or `best` name something else."""
    path = self.run / "checkpoints" / self.one(["last", "best"])
    text = self.one(
        ["", "step-2\n", "step-8\n", "../../elsewhere/step-2", "step-6", "/", "step-9" * 9, "best\n"]
    )
    if path.is_symlink() or self.random.random() < 0.3:
        path.unlink(missing_ok=True)
        path.symlink_to(text.strip() or "x")
    elif not path.is_dir():
        path.write_text(text)
    return f"{path.name} names {text!r}"


def forge(self):
    """Other weights, with the hash beside them worked out anew: of one of the hashes over them, or all."""
    folder = self.one(_checkpoints(self.run))
    name = self.one(["weights.safetensors", "optimizer.safetensors"])
    if not (folder / "progress.json").is_file() or not (folder / name).is_file():
        return "nothing"
    state = load_file(folder / name)
    key = self.one(sorted(state))
    state[key] = np.asarray(state[key] + 1)
    save_file(state, folder / name)
    record = json.loads((folder / "progress.json").read_text())
    if whole := bool(self.random.integers(2)):
        record["sha256"][name] = digest(folder / name)
    else:
        record["sha256"]["progress"] = digest(folder / name)
    (folder / "progress.json").write_text(json.dumps(record))
    return f"{FORGED if whole else 'half forged'} {self.name(folder / name)}"


def backend(self):
    """Let every session name another backend that is installed."""
    path = self.run / "run.json"
    said = json.loads(path.read_text(encoding="utf-8"))
    for entry in (said["identity"], *said["sessions"]):
        entry["backend"] = "torch"
    path.write_text(json.dumps(said), encoding="utf-8")
    return "another backend in run.json"


FORGED = "forged with its hash"
"""In the text of a damage that no hash can show."""

KINDS = (
    flip,
    flip,
    digit,
    digit,
    cut,
    swap,
    delete,
    replace,
    replace,
    moved_out,
    rename,
    value,
    value,
    value,
)
KINDS += (nest, pointer, mode, forge, backend)


def _texts(run, *more):
    names = ["recipe.toml", "run.json", "metrics.jsonl", "checkpoints/*/progress.json"]
    paths = sorted(path for name in names for path in run.glob(name))
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def _checkpoints(run):
    found = sorted(path for path in (run / "checkpoints").glob("step-*") if path.is_dir())
    return found or [run]


def _places(values):
    for key in list(values) if isinstance(values, dict) else range(len(values)):
        yield values, key
        if isinstance(values[key], dict | list):
            yield from _places(values[key])


def _remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()

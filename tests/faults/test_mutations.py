"""A run's directory damaged in hundreds of ways: the right result, xtrain's own error or a note.

Each damage goes through eval, convert, curves and resume in forked processes, which meet the modes of files
as any user does. Counts are shown at the end of the tests' output.
"""

import ctypes
import json
import os
import shutil
import stat
from collections import Counter
from pathlib import Path

import pytest
from forks import Hung, Raised, forked
from lives import killed_in_a_save
from matplotlib.figure import Figure
from mutations import FORGED, Damage, backend
from world import command, digest, tree

from xtrain.errors import XtrainError
from xtrain.recipe import load_recipe
from xtrain.runs import about, binding, folder, metrics, picture, run
from xtrain.runs import checkpoint as checkpoints

FAULTS = ("tracebacks", "hangs", "silent differences", "files lost outside")
SECONDS = 30
"""After which a command hangs; it takes a tenth of one."""


class Damaged:
    """A run that was killed on its way, what each command makes of it, and of damaged copies."""

    def __init__(self, world, monkeypatch):
        monkeypatch.setattr(picture, "figure_of", FIGURE_OF)
        monkeypatch.setattr(Figure, "savefig", drawn)
        self.world, self.made, before = world, world.root.parent / "made", world.root.parent / "before"
        killed_in_a_save(world, 7)
        world.run.rename(before)
        self.pointed = {name: checkpoints.pointed(before / "checkpoints" / name) for name in ("last", "best")}
        self.written = checkpoints.written(before / "checkpoints" / self.pointed["last"]).bytes
        self.before, self.recipe = before, load_recipe(before / "recipe.toml")
        world.back_to(before)
        self.right = {name: self.result(name) for name in COMMANDS}
        assert all(found.code == 0 for found, _ in self.right.values()), self.right

    def result(self, name):
        """How a command ends, and what it makes."""
        shutil.rmtree(self.made, ignore_errors=True)
        self.made.mkdir()
        done = forked(self._unprivileged, COMMANDS[name], seconds=SECONDS)
        if getattr(done, "code", 1):
            return done, None
        return done, forked(MAKES[name], self, done, seconds=SECONDS)

    def _unprivileged(self, act):
        give_up_rights()
        return act(self)

    def verdicts(self, seed, kinds=None):
        """The damage in words, and for each command what became of it."""
        self.world.back_to(self.before)
        self.world.tidy()
        text = Damage(seed, self.world, kinds)()
        outside, within = self.world.outside(), tree(self.world.run)
        found = {}
        for name in COMMANDS:
            found[name] = self.verdict(name, text)
            if name != "resume" and tree(self.world.run) != within:
                found[name] = "silent differences", "it changed the run"
        if self.world.outside() != outside:
            found["all"] = "files lost outside", str(outside.items() ^ self.world.outside().items())
        self._make_removable()
        return text, found

    def verdict(self, name, text):
        """What became of a command, and what it said."""
        done, made = self.result(name)
        if isinstance(done, Hung) or isinstance(made, Hung):
            return "hangs", ""
        if isinstance(done, Raised):
            return "tracebacks", done.text
        if done.code:
            owned = done.code in (1, 2) and done.err.strip() and "foresees" not in done.err
            return ("told" if owned else "tracebacks"), done.err
        if made == self.right[name][1]:
            return "right", ""
        return self._why(name, text, done.err), f"{made} instead of {self.right[name][1]}"

    def _why(self, name, text, said):
        """What a result that is another goes back to."""
        if "note: " in said:
            return "said"
        if FORGED in text:
            return "forged"
        return "meant" if self._is_meant(name) else "silent differences"

    def _is_meant(self, name):
        """True where what differs is a user's to change, or what no checkpoint knows of yet.

        That are keys of the recipe that decide nothing, a pointer to another checkpoint that is whole, and
        records after the last checkpoint.
        """
        try:
            recipe = load_recipe(self.world.run / "recipe.toml")
        except XtrainError:
            recipe = self.recipe
        decided = binding.deciding(recipe) == binding.deciding(self.recipe)
        moved = [key for key in self.pointed if self._pointed(key) != self.pointed[key]]
        kept = name == "curves" and self._records(self.world.run) == self._records(self.before)
        return (recipe != self.recipe and decided) or (name != "resume" and moved) or kept

    def _records(self, run):
        return (run / "metrics.jsonl").read_bytes()[: self.written]

    def _pointed(self, name):
        return checkpoints.pointed(self.world.run / "checkpoints" / name)

    def _make_removable(self):
        for parent, folders, _ in os.walk(self.world.home):
            for name in folders:
                if not os.path.islink(os.path.join(parent, name)):
                    os.chmod(os.path.join(parent, name), stat.S_IRWXU)


FIGURE_OF = picture.figure_of


def drawn(figure, file, **options):
    """Stands for `savefig`, which takes a second: the numbers of the lines, and the title."""
    lines = [line.get_xydata().tolist() for axes in figure.axes for line in axes.lines]
    file.write(json.dumps([figure.get_suptitle(), lines]).encode())


COMMANDS = {
    "eval": lambda case: command("eval", case.world.run, "--checkpoint", "best"),
    "convert": lambda case: command("convert", case.world.run, case.made / "w.safetensors"),
    "curves": lambda case: command("curves", case.world.run, "--out", case.made / "picture.png"),
    "resume": lambda case: command("run", "--resume", case.world.run),
}
"""Those that only read come first: they must leave the run as it is."""


def files_made(case, done):
    """What a command has written, by name."""
    return {path.name: digest(path) for path in case.made.iterdir()}


def numbers(case, done):
    """What a resumed run has come to."""
    state = case.world.state()
    last, best = state["last"].strip(), state["best"].strip()
    kinds = [f"{step} {kind}" for step in (last, best) for kind in ("weights", "optimizer", "progress")]
    return {key: state[key] for key in ("last", "best", "metrics", *kinds)}


MAKES = {"eval": lambda case, done: done.out, "convert": files_made, "curves": files_made, "resume": numbers}


def give_up_rights():
    """Let root meet the modes of files as anyone does."""
    if os.geteuid():
        return
    libc, header, sets = ctypes.CDLL(None), (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, sets) == 0
    sets[0] &= ~0b1110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER
    assert libc.capset(header, sets) == 0


def check(damaged, seeds, record=None, kinds=None):
    """Damage the run by each seed; every verdict is counted, told to `record`, and none may be a fault."""
    counts, faults = Counter(), []
    for seed in seeds:
        text, found = damaged.verdicts(seed, kinds)
        counts["mutations"] += 1
        for name, (kind, said) in found.items():
            counts[kind] += 1
            if kind in FAULTS:
                faults.append(f"{kind}: {seed} {text}, {name}: {said}")
    if record:
        kinds = ("right", "told", "said", "meant", "forged", *FAULTS)
        record("counts", ", ".join(f"{kind} {counts[kind]}" for kind in ("mutations", *kinds)))
    assert not faults, "\n".join(faults)
    assert counts["mutations"] == len(seeds)


@pytest.fixture
def damaged(world, monkeypatch):
    return Damaged(world, monkeypatch)


def test_a_damaged_run_is_told(damaged, record_property):
    check(damaged, range(30), record_property)


@pytest.mark.slow
def test_a_run_damaged_in_hundreds_of_ways_is_told(damaged, record_property):
    check(damaged, range(1000, 1400), record_property)


def of_recipe(damage):
    """A digit of the optimizer's rate."""
    path = damage.run / "recipe.toml"
    path.write_text(path.read_text().replace("lr = 0.03", "lr = 0.04").replace("seed = 4", "seed = 5"))
    return "another rate and seed"


def of_records(damage):
    """Another first loss."""
    path = damage.run / "metrics.jsonl"
    path.write_text(path.read_text().replace('"loss": 0.', '"loss": 1.', 1))
    return "another loss"


def of_size(damage):
    """A loss that no float holds."""
    path = damage.run / "metrics.jsonl"
    path.write_text(path.read_text().replace('"loss": 0.', f'"loss": {10**400}, "x": 0.', 1))
    return "a huge loss"


def of_weights(damage):
    """A bit of the last weights, of each checkpoint."""
    for path in damage.run.glob("checkpoints/step-*/weights.safetensors"):
        content = bytearray(path.read_bytes())
        content[-3] ^= 8
        path.write_bytes(content)
    return "a bit of the weights"


def of_pipes(damage):
    """A pipe for the weights of each checkpoint."""
    for path in damage.run.glob("checkpoints/step-*/weights.safetensors"):
        path.unlink()
        os.mkfifo(path)
    return "pipes"


def of_folder(damage):
    """The folder of checkpoints lies elsewhere, and a link leads there."""
    (damage.run / "checkpoints").rename(damage.elsewhere / "moved")
    (damage.run / "checkpoints").symlink_to(damage.elsewhere / "moved")
    return "a link"


MUTANTS = [
    ((checkpoints, "_compare", lambda *given: None), of_weights, "silent differences"),
    ((about.About, "check_recipe", lambda *given: None), of_recipe, "silent differences"),
    ((about.About, "check_backend", lambda *given: None), backend, "silent differences"),
    ((run.Run, "check_history", lambda self: None), of_records, "silent differences"),
    ((metrics, "_checked", lambda record: record), of_size, "tracebacks"),
    ((checkpoints, "content", Path.read_bytes), of_pipes, "hangs"),
    ((folder, "check_own", lambda path: None), of_folder, "files lost outside"),
]


@pytest.mark.parametrize(
    ("mutant", "kind", "fault"), MUTANTS, ids=lambda value: getattr(value, "__name__", "")
)
def test_the_damage_catches(mutant, kind, fault, damaged, monkeypatch):
    check(damaged, [0], kinds=[kind])
    monkeypatch.setattr(*mutant)
    if fault == "hangs":
        monkeypatch.setitem(globals(), "SECONDS", 4)
    with pytest.raises(AssertionError, match=rf"(?m)^\s*{fault}"):
        check(damaged, [0], kinds=[kind])

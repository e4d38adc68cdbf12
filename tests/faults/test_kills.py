"""A session killed before and after every operation on a file, and by a power cut, goes on to the bit.

Each kill happens in a forked process. After it there is either no run, and the same command makes it, or one
that a resume brings to what the run left alone came to. Counts are shown at the end of the tests' output.
"""

from collections import Counter

import pytest
from disk import Die
from forks import Died, Hung, Raised, forked
from lives import LIVES, Life

from xtrain.runs import about, folder, run
from xtrain.runs import checkpoint as checkpoints
from xtrain.system import files
from xtrain.training import session

FAULTS = ("dead directories", "other backends", "silent differences", "files lost outside")
STRIDE = 23
"""A prime, so that strides through operations that repeat meet each kind of them."""


def verdict(life):
    """What became of a run after its kill, and the sentence that says so; '' where all is well."""
    world = life.world
    theirs = world.furnish()
    if (backend := world.backend()) != "numpy":
        return ("other backends" if "none" not in backend else "dead directories"), backend
    done = world.go_on()
    if done.code:
        return "dead directories", done.err
    if different := differences(life.alone, world.state()):
        return "silent differences", different
    return lost(life, theirs)


def lost(life, theirs):
    """The verdict where files of a user's are changed, in the run or outside; '' where none is."""
    if gone := life.world.lost(theirs):
        return "files lost outside", f"in the run: {gone}"
    different = differences(life.outside, life.world.outside())
    return ("files lost outside" if different else ""), different


def differences(expected, found):
    """The keys that are not the same, with both values."""
    keys = [key for key in {**expected, **found} if expected.get(key) != found.get(key)]
    return "; ".join(f"{key}: {expected.get(key)!r} became {found.get(key)!r}" for key in keys)


def killed(life, number, way):
    """The verdict over a session that was killed so."""
    ended = life.met(Die(number, way))
    assert isinstance(ended, Died), (number, way, ended)
    found = forked(verdict, life)
    if isinstance(found, Hung | Raised):
        return "dead directories", found
    return found


def check(life, numbers, ways=Die.WAYS, record=None):
    """Kill at each of the operations; every verdict is counted, told to `record`, and must be none."""
    counts, faults = Counter(), []
    for number in numbers:
        for way in ways:
            kind, text = killed(life, number, way)
            counts["kills"] += 1
            counts[kind] += bool(kind)
            if kind:
                faults.append(f"{kind}: {way} operation {number} {life.operations[number - 1]}: {text}")
    if record:
        zeros = ", ".join(f"{name} {counts[name]}" for name in FAULTS)
        record("counts", f"{life.name}, kills: {counts['kills']}, {zeros}")
    assert not faults, "\n".join(faults)
    assert counts["kills"] == len(numbers) * len(ways) > 0


@pytest.mark.parametrize("name", LIVES)
def test_a_killed_run_goes_on_to_the_bit(name, world, record_property):
    life = Life(world, name)
    check(life, range(1 + len(name) % 5, len(life.operations) + 1, STRIDE), record=record_property)


@pytest.mark.slow
@pytest.mark.parametrize("name", LIVES)
def test_a_run_killed_anywhere_goes_on_to_the_bit(name, world, record_property):
    life = Life(world, name)
    check(life, range(1, len(life.operations) + 1), record=record_property)


def unsynced(path, content):
    """A mutant of `write_new`, which does not wait for the disk."""
    with open(path, "xb") as file:
        file.write(content if isinstance(content, bytes) else content.encode())


def replaced_too_soon(target, beside):
    """A mutant of `_replace`, which removes before it renames."""
    files.remove(target)
    beside.rename(target)


def in_place(path, content):
    """A mutant of `write_atomically`, which is not."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def sweeps_all(path):
    """A mutant of `sweep`, which takes every name with a dot in front for its own."""
    for entry in [*path.glob(".*"), *(path / "checkpoints").glob(".*")]:
        files.remove(entry)


def made_in_place(path, contents):
    """A mutant of `made`, which writes into the directory that all can see."""
    path.mkdir(exist_ok=True)
    (path / "checkpoints").mkdir()
    for name, content in contents.items():
        files.write_new(path / name, content)
    return folder._held(path)


MUTANTS = [
    ("train", (checkpoints, "write_new", unsynced), "replace", ("power",), "dead directories"),
    ("train", (checkpoints, "_replace", replaced_too_soon), "unlink", ("after",), "dead directories"),
    ("train", (run, "write_atomically", in_place), "write", ("before",), "dead directories"),
    ("train", (folder, "made", made_in_place), "open", ("after",), "dead directories"),
    ("train", (about.About, "last_used", None), "rename", ("after",), "other backends"),
    ("resume", (run.Run, "cut", lambda *given: None), "mkdir", ("after",), "silent differences"),
    ("resume", (session, "_prune", lambda *given: None), "mkdir", ("after",), "silent differences"),
    ("resume", (folder, "sweep", lambda path: None), "mkdir", ("after",), "silent differences"),
    ("resume", (folder, "sweep", sweeps_all), "mkdir", ("after",), "files lost outside: .*gitignore"),
]


@pytest.mark.parametrize(("name", "mutant", "operation", "ways", "fault"), MUTANTS)
def test_the_kills_catch(name, mutant, operation, ways, fault, world, monkeypatch):
    life = Life(world, name)
    monkeypatch.setattr(*mutant)
    life.watch()
    numbers = [number for number, each in enumerate(life.operations, 1) if each == operation]
    with pytest.raises(AssertionError, match=rf"(?m)^\s*{fault}"):
        check(life, [*numbers[:2], *numbers[-4:]], ways)

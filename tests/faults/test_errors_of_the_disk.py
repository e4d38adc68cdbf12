"""A disk that fails or is full at any operation on a file: said in xtrain's own words, nothing lost by it.

The command ends with an error that names the run, what the system said and what to do; or it goes on, where
nothing of the run hangs on the operation. Earlier checkpoints stand, and a resume gives the same bits.
"""

import errno
import json
import os
from collections import Counter
from contextlib import nullcontext

import pytest
from disk import Fail, short
from forks import Hung, Raised, forked
from lives import LIVES, Life
from test_kills import differences, lost

from xtrain.errors import XtrainError
from xtrain.runs import checkpoint as checkpoints
from xtrain.runs import folder, metrics
from xtrain.runs.checkpoint import is_whole, listed, step_of
from xtrain.runs.run import Run
from xtrain.system.files import remove
from xtrain.training import session

FAULTS = ("untold", "checkpoints lost", "dead directories", "silent differences", "files lost outside")
WAYS = [(code, for_good) for code in (errno.EIO, errno.ENOSPC) for for_good in (False, True)]
STRIDE = 29


def verdict(life, number, code, for_good, done):
    """What is wrong after an operation failed, and the sentence that says so; '' where nothing is."""
    world = life.world
    if isinstance(done, Hung | Raised) or (done.code and not _is_told(life, code, done)):
        return "untold", str(done)
    if for_good and not world.is_free():
        Run(world.run).sweep()  # puts back what the disk did not let the session put back
    whole = [step_of(path) for path in listed(world.run / "checkpoints") if is_whole(path)]
    if life.lasts[number - 1] > max(whole, default=0):
        return "checkpoints lost", f"{life.lasts[number - 1]} was there, {whole} are"
    theirs = world.furnish()
    if (again := world.go_on()).code:
        return "dead directories", again.err
    if different := differences(life.alone, world.state()):
        return "silent differences", f"{different}, after {done}"
    return lost(life, theirs)


def _is_told(life, code, done):
    """Exit code 1, and a text with the run, the system's word for what happened, and a remedy."""
    first, _, remedy = done.err.strip().partition("\n")
    told = str(life.world.run) in first and os.strerror(code) in first and remedy.startswith("  ")
    return done.code == 1 and told and "foresees" not in done.err and "Traceback" not in done.err


def _judged(*given):
    found = forked(verdict, *given)
    return ("dead directories", found) if isinstance(found, Hung | Raised) else found


def check(life, numbers, ways=WAYS, record=None):
    """Let each of the operations fail; every verdict is counted, told to `record`, and must be none."""
    counts, faults = Counter(), []
    for number in numbers:
        for code, for_good in ways:
            done = life.met(Fail(number, code, for_good))
            kind, text = _judged(life, number, code, for_good, done)
            counts["failures"] += 1
            counts["went on"] += not getattr(done, "code", 1)
            counts[kind] += bool(kind)
            if kind:
                way = f"{errno.errorcode[code]} {'for good' if for_good else 'once'}"
                faults.append(f"{kind}: {way} at {number} {life.operations[number - 1]}: {text}")
    if record:
        zeros = ", ".join(f"{name} {counts[name]}" for name in FAULTS)
        failures = f"{counts['failures']}, went on {counts['went on']}"
        record("counts", f"{life.name}, failures of the disk: {failures}, {zeros}")
    assert not faults, "\n".join(faults)
    assert counts["failures"] == len(numbers) * len(ways) > 0


@pytest.mark.parametrize("name", LIVES)
def test_a_failing_disk_is_told(name, world, record_property):
    life = Life(world, name)
    check(life, range(1 + len(name) % 7, len(life.operations) + 1, STRIDE), record=record_property)


@pytest.mark.slow
@pytest.mark.parametrize("name", LIVES)
def test_a_disk_that_fails_anywhere_is_told(name, world, record_property):
    life = Life(world, name)
    check(life, range(1, len(life.operations) + 1), record=record_property)


def test_a_full_disk_names_the_checkpoint_and_not_what_fails_after_it(world):
    life = Life(world, "train")
    beside = life.operations.index("rename", life.operations.index("replace"))  # of the second checkpoint
    done = life.met(Fail(beside - 6, errno.ENOSPC, True))
    assert "checkpoints/step-" in done.err, done
    assert "the checkpoint can't be written: No space left on device" in done.err


def test_a_run_that_is_made_and_not_synced_is_not_called_another_ones(world):
    life = Life(world, "train")
    made = life.operations.index("rename") + 1
    check(life, [made + 1])  # the sync of the folder around it


def test_a_checkpoint_that_can_not_be_replaced_stays(world):
    life = Life(world, "set back")
    check(life, [number for number, name in enumerate(life.operations, 1) if name == "rename"], WAYS[:1])


def check_short(life):
    """Let every write take half; nothing must come of it."""
    done = life.met(short)
    assert done.code == 0, done
    found = forked(life.world.state)
    assert isinstance(found, dict), found
    assert not (different := differences(life.alone, found)), different


@pytest.mark.parametrize("name", LIVES)
def test_writes_that_take_half_change_nothing(name, world):
    check_short(Life(world, name))


def makes_room_first(target, checkpoint, save=checkpoints.save):
    """A mutant of `save`, which removes what was there, but for the best, before the new one is."""
    for path in listed(target):
        if path.name != checkpoints.pointed(target / "best"):
            remove(path)
    return save(target, checkpoint)


def refuses(beside, contents, fill=folder._fill):
    """A mutant of `_fill`, whose error says nothing."""
    try:
        fill(beside, contents)
    except OSError as error:
        raise XtrainError("failed") from error


MUTANTS = [
    ((checkpoints, "save", makes_room_first), "write", "checkpoints lost"),
    ((session, "_written", lambda run: nullcontext()), "write", "untold: .*foresees"),
    ((folder, "_fill", refuses), "write", "untold: .*error: failed"),
]


@pytest.mark.parametrize(("mutant", "operation", "fault"), MUTANTS)
def test_the_failures_catch(mutant, operation, fault, world, monkeypatch):
    life = Life(world, "train")
    monkeypatch.setattr(*mutant)
    life.watch()
    numbers = [number for number, each in enumerate(life.operations, 1) if each == operation]
    with pytest.raises(AssertionError, match=rf"(?m)^\s*{fault}"):
        check(life, [numbers[0], *numbers[-9:]], [(errno.ENOSPC, True)])


def test_short_writes_catch_an_appender_that_trusts_the_first(world, monkeypatch):
    def append(self, record):
        line = (json.dumps(record) + "\n").encode()
        os.write(self._handle, line)
        self._bytes += len(line)
        self._hash.update(line)

    life = Life(world, "train")
    monkeypatch.setattr(metrics.Appender, "append", append)
    with pytest.raises(AssertionError, match="JSONDecodeError"):
        check_short(life)

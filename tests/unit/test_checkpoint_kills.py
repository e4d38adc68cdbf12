"""A session killed at any moment of a save: the last whole checkpoint loads once the run is swept.

Every call that changes the disk is cut short in turn, before it happens (a file is half written then) and
right after, as SIGKILL does: no `except` and no `finally` of the session runs any more.
"""

import contextlib
import os
import shutil
import sys
from pathlib import Path

import pytest
from fake_runs import made
from recipe_values import small_job
from test_checkpoint import MODEL, checkpoint, same

from xtrain.runs import checkpoint as checkpoints
from xtrain.runs.run import Run
from xtrain.system import files
from xtrain.system.files import write_atomically


class Killed(BaseException):
    """Nothing of the program catches it."""


def halve(path):
    """Leave what is written when the process dies half-way."""
    os.truncate(path, path.stat().st_size // 2)


class Disk:
    """Counts the calls that change the disk, and ends the process at one of them."""

    CALLS = (
        (os, "fsync"),
        (os, "mkdir"),
        (os, "rename"),
        (os, "replace"),
        (os, "unlink"),
        (os, "rmdir"),
        (shutil, "rmtree"),
        (checkpoints, "write_new"),
        (files, "write_new"),
    )

    def __init__(self, monkeypatch):
        self.count, self.last, self.after, self.dead = 0, None, False, False
        self.writes = (files.write_new,)
        for owner, name in self.CALLS:
            monkeypatch.setattr(owner, name, self._counted(getattr(owner, name)))

    def kill_at(self, last, after):
        """Before or after the call of that number, counted from 1."""
        self.count, self.last, self.after, self.dead = 0, last, after, False

    def live_on(self):
        """Another process takes over."""
        self.last, self.dead = None, False

    def _counted(self, call):
        def counted(*arguments, **options):
            if self.dead:  # clean-up that a killed process does not get to
                raise Killed
            self.count += 1
            if self.count == self.last:
                with contextlib.suppress(OSError):
                    if self.after or call in self.writes:
                        call(*arguments, **options)
                    if not self.after and call in self.writes:
                        halve(next(path for path in arguments if isinstance(path, Path)))
                self.dead = True
                raise Killed
            return call(*arguments, **options)

        return counted


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


def killed_everywhere(disk, prepare, action):
    """Prepare and act again and again, killed at each moment in turn; yields after each kill."""
    disk.live_on()
    state = prepare()
    before = disk.count
    action(state)
    calls = disk.count - before
    assert calls
    for number in range(1, calls + 1):
        for after in (False, True):
            disk.live_on()
            state = prepare()
            disk.kill_at(number, after)
            with pytest.raises(Killed):
                action(state)
            disk.live_on()
            yield state, f"{'after' if after else 'before'} call {number} of {calls}"


def names(run):
    return sorted(entry.name for entry in run.checkpoints.iterdir())


@pytest.mark.parametrize("again", [False, True], ids=["a new step", "a step reached again"])
def test_the_last_checkpoint_is_whole_whenever_a_save_is_killed(again, disk, tmp_path):
    def prepare():
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        run = made(tmp_path / "run", small_job())
        checkpoints.save(run.checkpoints, checkpoint(1))
        checkpoints.save(run.checkpoints, checkpoint(2, seed=1))
        return run

    step = 2 if again else 3
    new = checkpoint(step, seed=2)
    seen = set()
    for run, when in killed_everywhere(disk, prepare, lambda run: checkpoints.save(run.checkpoints, new)):
        Run(run.path).sweep()
        found = checkpoints.load(run.checkpoint("last"), MODEL)
        assert found.progress.step in (2, step), when
        olds = [checkpoint(2, seed=1), new]
        assert any(same(found.model, old.model) for old in olds), when
        assert checkpoints.load(run.checkpoint("step-1"), MODEL).progress.step == 1
        assert not [name for name in names(run) if name.startswith(".")], when
        seen.add(same(found.model, new.model))
        checkpoints.save(run.checkpoints, checkpoint(4))  # and the run can go on
        assert run.checkpoint("last").name == "step-4"
    assert seen == {False, True}  # both outcomes happened


def test_there_is_none_or_a_whole_one_when_the_first_save_is_killed(disk, tmp_path):
    def prepare():
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        return made(tmp_path / "run", small_job())

    first = checkpoint(1)
    seen = set()
    for run, when in killed_everywhere(disk, prepare, lambda run: checkpoints.save(run.checkpoints, first)):
        Run(run.path).sweep()
        exists = os.path.lexists(run.checkpoints / "last")
        if exists:
            assert same(checkpoints.load(run.checkpoint("last"), MODEL).model, first.model), when
        seen.add(exists)
    assert seen == {False, True}


def test_a_text_is_the_old_or_the_new_one(disk, tmp_path):
    run = made(tmp_path / "run", small_job())
    seen = set()
    for path, when in killed_everywhere(
        disk,
        lambda: write_atomically(run.metrics_path, "old\n") or run.metrics_path,
        lambda path: write_atomically(path, "new\n"),
    ):
        assert path.read_text() in ("old\n", "new\n"), when
        seen.add(path.read_text())
        run.sweep()
        assert sorted(entry.name for entry in run.path.iterdir()) == [
            "checkpoints",
            "metrics.jsonl",
            "recipe.toml",
            "run.json",
        ]
    assert seen == {"old\n", "new\n"}


@pytest.mark.skipif(sys.platform != "linux", reason="names of open files come from /proc")
def test_all_is_on_the_disk_before_the_name_says_so(monkeypatch, tmp_path):
    """A kill of the machine, not of the process: only the order of the calls can show it."""
    done = []

    def noting(call):
        def noted(*arguments):
            done.append((call.__name__, *(os.path.basename(_path(argument)) for argument in arguments)))
            return call(*arguments)

        return noted

    for name in ("fsync", "rename", "replace"):
        monkeypatch.setattr(os, name, noting(getattr(os, name)))
    checkpoints.save(tmp_path / "checkpoints", checkpoint(3))
    beside, pid = f".step-3.{os.getpid()}", os.getpid()
    assert done == [
        ("fsync", "weights.safetensors"),
        ("fsync", "optimizer.safetensors"),
        ("fsync", "progress.json"),
        ("fsync", beside),
        ("rename", beside, "step-3"),
        ("fsync", "checkpoints"),
        ("fsync", f".last.{pid}"),
        ("replace", f".last.{pid}", "last"),
        ("fsync", "checkpoints"),
    ]
    done.clear()
    write_atomically(tmp_path / "run.json", "{}")
    assert done == [
        ("fsync", f".run.json.{pid}"),
        ("replace", f".run.json.{pid}", "run.json"),
        ("fsync", tmp_path.name),
    ]


def _path(argument):
    """Of a path, or of what a file descriptor stands for."""
    return os.readlink(f"/proc/self/fd/{argument}") if isinstance(argument, int) else argument

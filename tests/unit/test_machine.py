"""How the C library's memory is made quick."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest
from fake_runs import few
from plugin_folder import install_fake

import xtrain
from xtrain.cli import main
from xtrain.system import machine
from xtrain.system.isolated import isolated
from xtrain.training.observers import curves

LINEAR = ("--set", "model.hidden=[]", "--epochs", "1")
GLIBC = platform.libc_ver()[0] == "glibc"
HUGE = Path("/sys/kernel/mm/transparent_hugepage/enabled")

# Prints what 20 times 64 MiB cost in page faults, and the most that was resident, in KiB.
FAULTS = """
for _ in range(22):
    bytearray(64 << 20)
    if _ == 1:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
found = resource.getrusage(resource.RUSAGE_SELF)
print(found.ru_minflt - before, found.ru_maxrss)
"""
# Prints how many stretches of the heap ask for huge pages.
STRETCHES = """
kept = [bytearray(64 << 10) for _ in range(64)]
heap = open("/proc/self/smaps").read().split("[heap]")[1:]
print(sum("hg" in part.split("VmFlags:")[1].splitlines()[0].split() for part in heap))
"""
TUNED = (
    "from xtrain.system.machine import tune_memory\ntune_memory()\ntune_memory()"  # as several backends would
)


def run(*parts):
    script = "\n".join(("import resource", *parts))
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return [int(word) for word in done.stdout.split()]


@pytest.mark.skipif(not GLIBC, reason="the C library is not glibc")
def test_freed_memory_is_kept():
    (plain, resident), (tuned, resident_tuned) = run(FAULTS), run(TUNED, FAULTS)
    assert tuned < 20 < plain
    assert resident_tuned < resident + (64 << 10)  # the heap's addresses take no memory


@pytest.mark.skipif(not GLIBC or not HUGE.exists(), reason="the system has no transparent huge pages")
def test_the_heap_asks_for_huge_pages():
    assert run(STRETCHES) == [0]
    assert run(TUNED, STRETCHES) == [1]


# The process is the owner's: who may change its memory for good.


class Platform:
    """The standard library's, whose C library is one that can't be tuned, and which counts who asks."""

    def __init__(self):
        self.asked = 0

    def libc_ver(self):
        self.asked += 1
        return "another", ""

    def __getattr__(self, name):
        return getattr(platform, name)


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Counts the tunings, in a folder of the test's own where the fake backend is found."""
    monkeypatch.syspath_prepend(install_fake(tmp_path / "plugin"))
    monkeypatch.setattr(machine, "platform", counting := Platform())
    monkeypatch.setattr(curves, "draw", lambda runs, path: None)
    monkeypatch.delenv("XTRAIN_TUNE_MEMORY", raising=False)
    for name in (
        "torch",
        "paddle",
        "mindspore",
        "jax",
    ):  # else it were another process
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.chdir(tmp_path)
    few(monkeypatch)
    return counting


def command(*arguments):
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    assert not ended.value.code


def test_the_commands_that_train_tune_the_memory(asked, capsys):
    command("run", "digits_mlp", "--backend", "fake", "--out", "run", *LINEAR)
    assert asked.asked == 1
    command("eval", "run")
    assert asked.asked == 2
    command("run", "--resume", "run", "--epochs", "2")
    assert asked.asked == 3
    command("summary", "digits_mlp")
    command("check", "digits_mlp")
    assert asked.asked == 3


def test_a_call_in_the_callers_process_leaves_its_memory_alone(asked):
    changes = {"model.hidden": [], "loop.epochs": 1}
    xtrain.run("digits_mlp", backend="fake", out="run", overrides=changes, quiet=True)
    xtrain.run(resume="run", overrides={"loop.epochs": 2}, quiet=True)
    xtrain.evaluate("run")
    assert asked.asked == 0


def test_it_can_be_switched_off(asked, monkeypatch):
    monkeypatch.setenv("XTRAIN_TUNE_MEMORY", "0")
    command("run", "digits_mlp", "--backend", "fake", "--out", "run", *LINEAR)
    assert asked.asked == 0


def _stretches():
    kept = [bytearray(64 << 10) for _ in range(64)]
    heap = Path("/proc/self/smaps").read_text().split("[heap]")[1:]
    return len(kept) and sum("hg" in part.split("VmFlags:")[1].splitlines()[0].split() for part in heap)


@pytest.mark.skipif(not GLIBC or not HUGE.exists(), reason="the system has no transparent huge pages")
def test_a_process_of_its_own_is_tuned_unless_that_is_switched_off(monkeypatch):
    monkeypatch.delenv("XTRAIN_TUNE_MEMORY", raising=False)
    assert isolated(_stretches) == 1
    monkeypatch.setenv("XTRAIN_TUNE_MEMORY", "0")
    assert isolated(_stretches) == 0
    assert run(TUNED, STRETCHES) == [0]

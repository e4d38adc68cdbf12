"""How the C library's memory is made quick."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

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

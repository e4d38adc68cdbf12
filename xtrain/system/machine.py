"""The machine: what is known of it, without saying whose it is, and how its memory is made quick."""

import ctypes
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from xtrain.system import distribution

# What changes a framework's speed from outside; a result says which of them were set.
_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ONEDNN_MAX_CPU_ISA")

# Of mallopt: give nothing back to the system (M_TRIM_THRESHOLD), no block apart from the heap (M_MMAP_MAX),
# one heap for all threads (M_ARENA_MAX).
_MALLOC = ((-1, -1), (-4, 0), (-8, 1))
_HEAP = 4 << 30  # bytes
_HUGE_PAGE = 2 << 20  # bytes, on x86; on Arm with its usual pages as well
_MADV_HUGEPAGE = 14


def environment(packages: tuple[str, ...]) -> dict[str, Any]:
    """Versions of xtrain and of installed packages, system, processor, usable cores, variables."""
    return {
        "versions": {"python": platform.python_version(), "xtrain": distribution.version()}
        | _versions(packages),
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu": _cpu_model(),
        "cores": usable_cores(),
        "variables": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
    }


def tune_memory() -> None:
    """Let the C library keep the memory that arrays give back, in huge pages; glibc's only.

    A step asks for its tensors anew, and the page faults of fresh memory take longer than filling it does:
    scaling 7 MB takes 1.75 ms with them and 0.53 without. Pages of 2 MB spare what looking up small ones
    costs, a quarter of a small convolutional net's step. The whole process is changed by it, so only the
    owner of the process may call this: the command line, and processes of its own. XTRAIN_TUNE_MEMORY=0
    switches it off.
    """
    if os.environ.get("XTRAIN_TUNE_MEMORY") == "0":
        return
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for setting, value in _MALLOC:
        libc.mallopt(setting, value)
    # Addresses only: what is not used takes no memory. The heap keeps them, and hands them out first.
    if start := libc.malloc(_HEAP):
        first = -(-start // _HUGE_PAGE) * _HUGE_PAGE
        libc.madvise(first, start + _HEAP - first, _MADV_HUGEPAGE)
        libc.free(start)


def usable_cores() -> int:
    """Processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor())

"""The machine: what is known of it, without saying whose it is, and one setting that makes it faster."""

import ctypes
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

# What changes a framework's speed from outside; a result says which of them were set.
_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ONEDNN_MAX_CPU_ISA")


def environment(packages: tuple[str, ...]) -> dict[str, Any]:
    """Versions of the packages that are installed, system, processor, usable cores, variables."""
    return {
        "versions": {"python": platform.python_version()} | _versions(packages),
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu": _cpu_model(),
        "cores": usable_cores(),
        "variables": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
    }


def keep_freed_memory() -> None:
    """Let the C library keep the memory that arrays give back, for the next of their size.

    A step asks for its tensors anew, and the page faults of fresh memory take longer than filling it does:
    scaling 7 MB takes 1.75 ms with them and 0.53 without.
    """
    if platform.libc_ver()[0] == "glibc":
        libc, m_trim_threshold, m_mmap_max = ctypes.CDLL(None), -1, -4
        libc.mallopt(m_trim_threshold, -1)  # never
        libc.mallopt(m_mmap_max, 0)


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

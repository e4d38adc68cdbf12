"""The command in a process of its own."""

import os
import subprocess
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Done:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


class Command:
    """`xtrain` in a process of its own, run in `folder`."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, *arguments, timeout=120, **options):
        """Wait for its end."""
        process = self.start(*arguments, **options)
        try:
            out, err = process.communicate(timeout=timeout)
        finally:
            process.kill()
        return Done(process.returncode, out, err)

    def start(self, *arguments, environment=None, **options):
        """Don't wait."""
        inherited = {key: value for key, value in os.environ.items() if key not in _DECIDING}
        return subprocess.Popen(
            [sys.executable, "-m", "xtrain", *map(str, arguments)],
            cwd=self.folder,
            env={**inherited, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )


_DECIDING = ("XTRAIN_BACKEND", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS")
"""Variables that change what the command does."""

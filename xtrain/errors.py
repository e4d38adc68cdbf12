"""The few errors a user can meet, each with what was wrong, where, and what to do.

The command line prints `str(error)` and exits with `exit_code`; a traceback appears only under `--debug`.
"""

import difflib
from collections.abc import Iterable
from typing import Any


class XtrainError(Exception):
    """Anything a user can cause. Exit code 1: the run or comparison failed."""

    exit_code = 1

    def __init__(self, problem: str, *, where: object = None, remedy: str | None = None) -> None:
        self.problem, self.where, self.remedy = problem, where, remedy
        text = f"{where}: {problem}" if where is not None else problem
        super().__init__(f"{text}\n  {remedy}" if remedy else text)

    def __reduce__(self) -> tuple[Any, ...]:
        """Its parts, not its text: what is raised in one process is raised again in another."""
        return _again, (type(self), self.problem, self.where, self.remedy), self.__dict__  # with its notes


def _again(kind: type[XtrainError], problem: str, where: object, remedy: str | None) -> XtrainError:
    return kind(problem, where=where, remedy=remedy)


class UsageError(XtrainError):
    """Wrong use of a command or function: an unknown name, a directory that is not a run."""

    exit_code = 2


class RecipeError(UsageError):
    """A recipe that can't be run; `where` is the file and `problem` names the key and its value."""


class BackendError(UsageError):
    """A backend that is unknown or not installed, a device that is not there."""


class PluginError(UsageError):
    """A package whose entry point does not load, or offers something else than it should."""


class UnsupportedError(UsageError):
    """A layer, optimizer, loss or option that the chosen backend does not implement."""


class MissingError(UsageError):
    """A package that an extra installs, and that is not there."""


class DataError(XtrainError):
    """Data that is missing, truncated, altered, or not in the format it should be in."""


class CheckpointError(XtrainError):
    """A checkpoint that is damaged or belongs to another model."""


class NonFiniteError(XtrainError):
    """A loss or weight became infinite or not a number."""


def suggest(name: str, allowed: Iterable[str]) -> str:
    """`did you mean x? allowed: x, y, z`, without the question where nothing is near."""
    names = list(allowed)
    near = difflib.get_close_matches(name, names, n=1)
    question = f"did you mean {near[0]!r}? " if near else ""
    return f"{question}allowed: {', '.join(names)}"

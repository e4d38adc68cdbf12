"""A call in a process of its own: one process, one framework."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import ParamSpec, TypeVar

from xtrain.errors import XtrainError

P = ParamSpec("P")
T = TypeVar("T")


def apart(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`function(*args)` in a fresh interpreter that has loaded no framework.

    Function, arguments and result travel by pickle, so a function stands at the top of a module. What it
    raises is raised here; `XtrainError` where its process dies.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(function, *args, **kwargs).result()
        except BrokenProcessPool as error:
            name = f"{function.__module__}.{function.__qualname__}"
            raise XtrainError(
                f"the process that ran {name} died", remedy="its last words, if any, stand above"
            ) from error

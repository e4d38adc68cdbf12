"""Processes that train together, as threads of this one: each adds up what all of them hand over."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np


class ThreadGroup:
    """One of them; `table` is shared by all."""

    def __init__(self, rank: int, size: int, table: list[Any], barrier: threading.Barrier) -> None:
        self.rank, self.size, self._table, self._barrier = rank, size, table, barrier

    def swap(self, own: Any) -> list[Any]:
        """What each hands over, by rank."""
        self._table[self.rank] = own
        self._barrier.wait()
        every = list(self._table)
        self._barrier.wait()
        return every

    def sum(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [np.sum(each, axis=0, dtype=np.float32) for each in zip(*self.swap(arrays), strict=True)]


def together(size: int, work: Callable[[int, ThreadGroup], Any]) -> list[Any]:
    """What `work` gives for each rank."""
    table, barrier = [None] * size, threading.Barrier(size, timeout=10)

    def one(rank: int) -> Any:
        try:
            return work(rank, ThreadGroup(rank, size, table, barrier))
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        futures = [pool.submit(one, rank) for rank in range(size)]
        errors = [error for each in futures if (error := each.exception())]
        real = [error for error in errors if not isinstance(error, threading.BrokenBarrierError)]
        if errors:
            raise (real or errors)[0]
        return [each.result() for each in futures]

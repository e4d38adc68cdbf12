"""How quickly a session goes on, and how long it has to go."""

import time


class Rate:
    """Images per second of a session, from the end of its first step on.

    The first step compiles and fills caches: its images and its seconds do not count. Evaluation and
    checkpoints, which a run waits for as well, do.
    """

    def __init__(self) -> None:
        self._started: float | None = None
        self._steps = self._images = 0

    def add(self, images: int) -> None:
        """Count a step of so many images; the first one starts the clock."""
        if self._started is None:
            self._started = time.perf_counter()
            return
        self._steps += 1
        self._images += images

    def left(self, steps: int) -> str:
        """How long so many steps take, as `clock` has it; `-` before two steps are done."""
        return clock(self._seconds / self._steps * steps) if self._steps else "-"

    def __str__(self) -> str:
        """`1,234`, or `-` before two steps are done."""
        return f"{self._images / self._seconds:,.0f}" if self._steps else "-"

    @property
    def _seconds(self) -> float:
        """Since the first step ended; never 0, however coarse the clock."""
        assert self._started is not None
        return max(time.perf_counter() - self._started, 1e-9)


def clock(seconds: float) -> str:
    """`1:02:03` or `2:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

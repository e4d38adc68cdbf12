"""Several processes as one training sees them: whose rows are whose, what is added up, what all agree on.

Nothing here knows how a framework joins its processes: a `Group` sums arrays, and all else is made of that.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from xtrain import plugins
from xtrain.errors import XtrainError
from xtrain.protocols import Backend, Group
from xtrain.spec import ALONE, Metrics, Place, State
from xtrain.system.lifeline import LINE, Address, Hub, held
from xtrain.system.travel import packed, unpacked

T = TypeVar("T")

_BETWEEN = 0.5
"""Seconds between two moments at which the processes agree on whether they are to stop."""
_AT_ONCE = 1 << 22  # values of 16 bits that are sent together
_FAREWELL = 10.0  # seconds that the others have to end once rank 0 has


class Ranks:
    """The processes that train together; by default this one alone, of which nothing is asked.

    Every process calls the same methods in the same order, and has the same answers. `hosts` is how many
    hosts they are on.
    """

    def __init__(self, place: Place = ALONE, group: Group | None = None) -> None:
        self.place, self._group = place, group
        local = self._gathered(np.array([place.local_rank])) if group else np.zeros(1)
        self.hosts = int((local == 0).sum())
        self._agreed, self._left, self._steps, self._since = False, 1, 0, time.perf_counter()

    @property
    def leads(self) -> bool:
        """True for the process that writes and tells."""
        return self.place.rank == 0

    def mine(self, items: Sequence[T]) -> Sequence[T]:
        """Every so many-th of what needs no sum while it is computed, as batches of an evaluation."""
        return items[self.place.rank :: self.place.size]

    def merged(self, own: Sequence[Metrics], count: int) -> list[Metrics]:
        """Figures of `count` items, each computed by the process that `mine` gave it to."""
        if self._group is None:
            return list(own)
        table = np.zeros((count, 2))
        table[self.place.rank :: self.place.size] = [(each.loss_sum, each.correct) for each in own] or 0
        return [Metrics(float(loss), int(correct)) for loss, correct in self._gathered(table).sum(0)]

    def added(self, own: Sequence[Metrics]) -> list[Metrics]:
        """Figures of steps of which every process computed its rows, added up in the order of ranks."""
        if self._group is None:
            return list(own)
        table = np.array([(each.loss_sum, each.correct) for each in own]).reshape(-1, 2)
        return [Metrics(float(loss), int(correct)) for loss, correct in self._gathered(table).sum(0)]

    def stopping(self, asked: bool) -> bool:
        """Whether all stop, because one was asked to; once a step, and it is seen to every half second."""
        if self._group is None or self._agreed:
            return asked or self._agreed
        self._steps += 1
        self._left -= 1
        if self._left > 0:
            return False
        each = (time.perf_counter() - self._since) / self._steps
        answers = self._gathered(np.array([float(asked), each]))
        self._agreed = bool(answers[:, 0].any())
        self._left = int(np.clip(_BETWEEN / max(answers[0, 1], 1e-6), 1, 1000))
        self._steps, self._since = 0, time.perf_counter()
        return self._agreed

    def from_first(self, make: Callable[[], T]) -> T:
        """What rank 0 makes, for all."""
        if self._group is None:
            return make()
        data = np.frombuffer(packed(make()) if self.leads else b"", dtype=np.uint8)
        size = int(self._gathered(np.array([float(len(data))]))[0, 0])
        words = np.zeros(-(-size // 2), dtype=np.uint16)
        words.view(np.uint8)[: len(data)] = data
        for start in range(0, len(words), _AT_ONCE):
            part = words[start : start + _AT_ONCE]
            part[:] = self._group.sum([part.astype(np.float32)])[0]
        return cast(T, unpacked(words.tobytes()[:size]))

    def check_same(self, state: State, step: int) -> None:
        """`XtrainError` where the processes do not hold the same weights to the bit."""
        if self._group is None:
            return
        digests = [blake2b(np.ascontiguousarray(each).tobytes(), digest_size=8) for each in state.values()]
        own = np.array([int.from_bytes(digest.digest()[:6], "big") for digest in digests], dtype=np.float64)
        every = self._gathered(own)
        for name, column in zip(state, every.T, strict=True):
            if (other := np.flatnonzero(column != column[0])).size:
                raise XtrainError(
                    f"after step {step} process {other[0]} of {self.place.size} has another {name} than "
                    "process 0: they no longer train the same net",
                    remedy="checkpoints written before are kept; are all hosts and libraries the same?",
                )

    def wait(self) -> None:
        """Until all are here."""
        if self._group is not None:
            self._gathered(np.zeros(1))

    def _gathered(self, own: NDArray[np.float64]) -> NDArray[np.float64]:
        """What every process has, [processes, ...], to the bit.

        Sums of float32 are all that each framework has everywhere, so numbers travel in pieces of 16 bits,
        each process's in a place of its own, where the others have 0.
        """
        assert self._group is not None
        pieces = np.ascontiguousarray(own, dtype=np.float64).reshape(-1).view(np.uint16)
        table = np.zeros((self.place.size, len(pieces)), dtype=np.float32)
        table[self.place.rank] = pieces
        table = self._group.sum([table])[0]
        return table.astype(np.uint16).view(np.float64).reshape(self.place.size, *own.shape)


@dataclass(frozen=True)
class Joining:
    """How processes come together.

    Args:
        deadline: seconds that one may wait for the others' part in a sum.
        exact: sums are added in the order of ranks, whatever that costs.

    """

    deadline: float = 300.0
    exact: bool = False


@contextmanager
def joined(backend: Backend, how: Joining) -> Iterator[Ranks]:
    """Join the others, if there are any, and hold a line to them until all are done."""
    place = plugins.place(backend)
    if place.size == 1:
        yield Ranks()
        return
    with ExitStack() as ending:
        line = os.environ.get(LINE)
        if line:
            ending.enter_context(held(Address.read(line), place.rank))
        group = backend.join(place, how.deadline, how.exact)  # type: ignore[attr-defined]  # it has an engine
        ranks = Ranks(place, group)
        if not line:
            hub = Hub(told=place.host) if ranks.leads else None
            if hub:
                ending.callback(hub.close, _FAREWELL)
            address: Any = ranks.from_first(lambda: str(hub.address) if hub else "")
            ending.enter_context(held(Address.read(address), place.rank))
        yield ranks
        ranks.wait()

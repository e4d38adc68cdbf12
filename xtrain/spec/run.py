"""What flows through a run: splits, draws, step inputs, metrics and what a backend says of itself."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from xtrain.spec.augment import Augment

Array = NDArray[Any]
State = dict[str, Array]
"""Canonical state: arrays by PyTorch's names and layouts; of an optimizer `fc1.weight/exp_avg` and `step`."""


Precision = Literal["float32", "tf32", "bf16", "fp16"]
"""What products are computed in; weights, their updates and the loss are float32 in all of them."""


@dataclass(frozen=True)
class Split:
    """One split as arrays.

    Args:
        images: uint8 [N, channels, height, width].
        labels: int64 [N].
        mean, std: float32, of the shape of an image or spread over it, as [channels, 1, 1]; an image is fed
            as `(pixels / 255 - mean) / std`, each operation rounded to float32, as torchvision does.
        augment: what is done to the pixels of a batch, in order.

    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    augment: tuple[Augment, ...] = ()


@dataclass(frozen=True)
class Draws:
    """The choices of one pass over a split.

    Args:
        batches: the samples of each batch, int64 [batch].
        augment: for each augmentation that draws, uint64 [N, k]: row i belongs to sample i.

    """

    batches: tuple[NDArray[np.int64], ...]
    augment: tuple[NDArray[np.uint64], ...] = ()


@dataclass(frozen=True)
class Place:
    """Where a process stands among those that train together; by default it is the only one.

    Args:
        rank: its number, from 0.
        size: how many there are.
        local_rank: its number among those on its host, which is that of its accelerator.
        host: name or address of the host of rank 0.

    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    host: str = "127.0.0.1"


ALONE = Place()
"""The place of the only process of a training."""


@dataclass(frozen=True)
class StepInput:
    """What changes from step to step. The plan works it out; a backend divides by nothing of its own.

    Args:
        number: the step, counted from 1 over the whole run.
        lr: learning rate of this step.
        momentum: where the schedule moves it: in place of SGD's and RMSprop's momentum, of Adam's beta1.
        dropout_keys: one 32-bit key for each dropout layer, in the order of `ModelSpec.dropouts`.
        share: upstream gradient of each batch's summed loss: 1 / total weight of the step for a mean, 1 for
            a sum.
        first_rows: of each batch of the step, the place of its first row among the rows of the whole step,
            those of other processes among them; dropout masks are counted from there.
        fillers: batches of the step, by their index, that this process has no row of. It is fed one row for
            each of them, because others wait for its part in their sums, and that row counts nowhere: not in
            gradients, batch statistics or figures.

    """

    number: int
    lr: float
    momentum: float | None = None
    dropout_keys: tuple[int, ...] = ()
    share: float = 1.0
    first_rows: tuple[int, ...] = (0,)
    fillers: frozenset[int] = frozenset()

    def share_of(self, batch: int) -> float:
        """Upstream gradient of the summed loss of a batch of the step: 0 where it is a filler."""
        return 0.0 if batch in self.fillers else self.share


@dataclass(frozen=True)
class Metrics:
    """What only the device knows of a step; how many samples it had and what they weigh, the plan knows.

    Args:
        loss_sum: sum of the samples' losses.
        correct: number of correct predictions.

    """

    loss_sum: float
    correct: int


def metrics(steps: Iterable[Sequence[tuple[float, float]]]) -> list[Metrics]:
    """The figures of each step, added up from those of its batches: sum of losses, correct predictions."""
    return [Metrics(sum(loss for loss, _ in step), int(sum(right for _, right in step))) for step in steps]


@dataclass(frozen=True)
class Probe:
    """What a backend finds on this machine; `problem` says why it can't be used, where it can't.

    `precisions` are those of the backend's device, and `notes["precision"]` says why it has no others.
    `asynchronous` promises that steps on that device go on while Python does. The suite then sees to it that
    nothing but `Loop.read` waits for them.
    """

    version: str | None
    devices: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ("float32",)
    modes: tuple[str, ...] = ()
    problem: str | None = None
    notes: Mapping[str, str] = field(default_factory=dict)
    asynchronous: bool = False

"""Every random choice of a run, from counters: order, augmentation, validation, dropout, initial weights.

Nothing is carried from step to step: any backend, from any step, asks for the choices of that step and
gets the same ones. Raw Philox words are used, whose stream NumPy promises to keep across versions,
unlike that of `Generator` methods.
"""

import hashlib
from collections.abc import Iterable, Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from xtrain.errors import UsageError
from xtrain.spec import Augment, Draws, ModelSpec, Place, State


def words(seed: int, purpose: str, count: int, counter: int = 0) -> NDArray[np.uint64]:
    """`count` random 64-bit words; the same for the same seed, purpose and counter, for ever.

    `UsageError` where the seed is no unsigned number of 64 bits.
    """
    if not 0 <= seed < 2**64:
        raise UsageError("the seed must be a whole number from 0 to 2**64 - 1")
    purpose_key = int.from_bytes(hashlib.blake2b(purpose.encode(), digest_size=8).digest(), "little")
    start = np.array([0, 0, 0, counter], dtype=np.uint64)
    key = np.array([seed, purpose_key], dtype=np.uint64)
    return np.random.Philox(key=key, counter=start).random_raw(count)


def order(seed: int, epoch: int, samples: int) -> NDArray[np.int64]:
    """The order in which an epoch (counted from 1) visits the samples."""
    return np.argsort(words(seed, "order", samples, epoch), kind="stable").astype(np.int64)


def train_draws(
    seed: int,
    epoch: int,
    samples: int,
    batch_size: int,
    *,
    drop_last: bool = False,
    augment: tuple[Augment, ...] = (),
    skip: int = 0,
) -> Draws:
    """The choices of one training epoch (counted from 1), without its first `skip` batches."""
    indices = order(seed, epoch, samples)
    batches = _batches(indices, batch_size)
    if drop_last and len(batches[-1]) < batch_size:
        batches = batches[:-1]
    drawn = tuple(
        words(seed, f"augment/{place}/{step.op}", samples * step.words, epoch).reshape(samples, -1)
        for place, step in enumerate(augment)
        if step.words
    )
    return Draws(batches[skip:], drawn)


def eval_draws(samples: int, batch_size: int) -> Draws:
    """All samples in their own order; what is done to their images is not drawn."""
    return Draws(_batches(np.arange(samples, dtype=np.int64), batch_size))


def held_out(
    seed: int, labels: NDArray[np.int64], fraction: float, *, balanced: bool = False
) -> NDArray[np.bool_]:
    """True for each training sample [N] that is kept for validation: `held_out_count` of them.

    Every sample has a word; those with the smallest are held out. Balanced, each class has its share of them,
    rounded down, and what is left over goes to the classes with the largest remainders, of equal ones to the
    lower label; within a class the smallest words decide.
    """
    drawn = words(seed, "validation", len(labels))
    count = held_out_count(len(labels), fraction)
    chosen = np.zeros(len(labels), dtype=np.bool_)
    if not balanced:
        chosen[np.argsort(drawn, kind="stable")[:count]] = True
        return chosen
    sizes = np.bincount(labels)
    shares, remainders = np.divmod(sizes * count, len(labels))
    shares[np.argsort(-remainders, kind="stable")[: count - shares.sum()]] += 1
    for label, share in enumerate(shares):
        places = np.flatnonzero(labels == label)
        chosen[places[np.argsort(drawn[places], kind="stable")[:share]]] = True
    return chosen


def held_out_count(samples: int, fraction: float) -> int:
    """How many samples a fraction is: the float64 product rounded to the nearest, a half to the even one."""
    return round(samples * fraction)


def batches_per_epoch(samples: int, batch_size: int, drop_last: bool) -> int:
    """How many training batches an epoch has."""
    return samples // batch_size if drop_last else -(-samples // batch_size)


def weight(labels: NDArray[np.int64], class_weights: Sequence[float] | None) -> float:
    """Total weight of samples [B] in a mean loss: their count, or the sum of their labels' class weights."""
    return float(len(labels) if class_weights is None else np.array(class_weights)[labels].sum())


def first_rows(sizes: Iterable[int]) -> tuple[int, ...]:
    """For batches of these sizes, the place of each one's first row in the whole step."""
    return tuple(accumulate(sizes, initial=0))[:-1]


def own_rows(rows: int, batch_size: int, place: Place) -> slice:
    """Which of a batch's rows a process takes; none where a smaller batch at an epoch's end has too few.

    Each takes the same number of a full batch, one after the other, as if each were a batch of its own that
    is accumulated: so two processes and two accumulated halves add up the same numbers.
    """
    most = -(-batch_size // place.size)
    start = min(place.rank * most, rows)
    return slice(start, min(start + most, rows))


def dropout_keys(seed: int, step: int, model: ModelSpec) -> tuple[int, ...]:
    """One 32-bit key for each dropout layer of the model at a step (counted from 1)."""
    return tuple(_key32(f"dropout/{seed}/{path}/{step}") for path in model.dropouts)


def initial_state(seed: int, model: ModelSpec) -> State:
    """Initial weights, float32: each tensor has words of its own, so no layer changes another's.

    Uniform values are 24-bit fractions of the interval, normal ones come by Box and Muller's transform;
    computed in float64 and rounded once.
    """
    state: State = {}
    for name, tensor in model.tensors.items():
        value = np.full(tensor.shape, tensor.fill, dtype=np.float64)
        if tensor.bound:
            fraction = (words(seed, f"init/{name}", tensor.size) >> np.uint64(40)).astype(np.float64) / 2**24
            value += (2 * fraction.reshape(tensor.shape) - 1) * tensor.bound
        if tensor.std:
            value += normal(words(seed, f"init/{name}", 2 * tensor.size)).reshape(tensor.shape) * tensor.std
        state[name] = value.astype(np.float32)
    return state


def normal(drawn: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Standard normal values from twice as many words (Box and Muller, 1958)."""
    # Of (0, 1]: the logarithm of 0 would be infinite.
    first, second = ((half >> np.uint64(11)).astype(np.float64) + 1 for half in np.split(drawn, 2))
    values: NDArray[np.float64] = np.sqrt(-2 * np.log(first / 2**53)) * np.cos(2 * np.pi * second / 2**53)
    return values


def _batches(indices: NDArray[np.int64], batch_size: int) -> tuple[NDArray[np.int64], ...]:
    return tuple(indices[start : start + batch_size] for start in range(0, len(indices), batch_size))


def _key32(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "little")

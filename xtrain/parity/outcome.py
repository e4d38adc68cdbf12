"""P6: are two backends' accuracies equivalent? Two one-sided tests (Schuirmann 1987) on paired seeds.

That a difference is not significant shows nothing: with few seeds none ever is. Here the burden lies on the
other side. Both hypotheses, that the mean difference is -margin or less and that it is +margin or more, must
be refused; that is so where the (1 - 2 alpha) confidence interval lies within the margin.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xtrain.system.distribution import need

ALPHA = 0.05
POWER = 0.9
MARGIN = 0.01
_MOST_SEEDS = 10_000


@dataclass(frozen=True)
class Equivalence:
    """What the seeds say of two backends.

    Args:
        difference: of the mean accuracies.
        spread: standard deviation of the difference from seed to seed.
        bound: the end of the confidence interval that lies further from 0; equivalent where the margin is
            at least that.

    """

    difference: float
    spread: float
    bound: float


def equivalence(a: Sequence[float], b: Sequence[float]) -> Equivalence:
    """Compare accuracies [seeds] of two backends; the same place is the same seed."""
    apart = np.array(a) - np.array(b)
    difference, spread = float(apart.mean()), float(apart.std(ddof=1)) if len(apart) > 1 else math.inf
    return Equivalence(difference, spread, abs(difference) + half_width(spread, len(apart)))


def half_width(spread: float, seeds: int) -> float:
    """Of the interval of a mean of `seeds` differences."""
    return _quantile(1 - ALPHA, seeds - 1) * spread / math.sqrt(seeds) if seeds > 1 else math.inf


def require() -> None:
    """`MissingError` where intervals can't be computed; to be called before hours of training."""
    need("scipy", "parity", "level P6, the outcome over seeds,")


def seeds_needed(spread: float, margin: float = MARGIN) -> int | None:
    """Fewest seeds with which the tests conclude with `POWER` where nothing differs; None above 10,000.

    n with (t(1 - alpha) + t((1 + power) / 2)) * spread / sqrt(n) <= margin, both of n - 1 degrees of freedom.
    """

    def enough(seeds: int) -> bool:
        t = _quantile(1 - ALPHA, seeds - 1) + _quantile((1 + POWER) / 2, seeds - 1)
        return t * spread / math.sqrt(seeds) <= margin

    found = 2 + bisect_left(range(2, _MOST_SEEDS), True, key=enough)
    return found if found < _MOST_SEEDS else None


def _quantile(probability: float, freedom: int) -> float:
    require()
    from scipy.stats import t  # noqa: PLC0415 - takes half a second to load

    return float(t.ppf(probability, freedom))

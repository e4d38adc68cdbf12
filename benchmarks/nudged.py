"""`xtrain`, with every initial weight moved by one unit in the last place: what rounding alone changes."""

import sys

import numpy as np

from xtrain import cli, plan
from xtrain.spec import ModelSpec, State


def nudged(seed: int, model: ModelSpec) -> State:
    """The plan's initial state, each weight the next float32 above."""
    state = _initial_state(seed, model)
    return {name: np.nextafter(value, np.float32(np.inf)) for name, value in state.items()}


_initial_state = plan.initial_state

if __name__ == "__main__":
    plan.initial_state = nudged
    sys.exit(cli.main())

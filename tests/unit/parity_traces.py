"""Traces made by hand, for tests: two backends that agree, and what a test changes of one."""

import hashlib

import numpy as np
from recipe_values import small_job

from xtrain.parity.trace import UNITS, Trace

STEPS, SEEDS = 5, 3
EPSILON = float(np.finfo(np.float32).eps)
TERMS = ("loss", "model.flatten1", "model.fc1", "model.relu1", "model.fc2")
OPTIMIZER = (
    *("name", "lr", "weight_decay", "decay_exclude", "l1", "l2", "clip_value", "clip_norm", "ema"),
    *("momentum", "dampening", "nesterov"),
)
LEVELS = ("P0", "P1", "P2", "P3", "P4", "P5", "P6")


def tensors(draw):
    """One large tensor, whose other draws lie `UNITS` away, a small one, and one of whole numbers."""
    moved = 1 + UNITS[draw] * EPSILON / 2
    large = np.linspace(-1, 1, 10_000).reshape(100, 100) * moved
    return {"fc1.weight": large, "fc1.bias": np.array([0.5]) * moved, "step": np.array([3])}


def made(backend, levels=LEVELS, job=None, **changes):
    """A trace of `small_job()`; `changes` are fields of `Trace`, or facts."""
    text = (job or small_job()).recipe.to_toml()
    facts = {
        "backend": backend,
        "device": "cpu",
        "threads": 1,
        "levels": list(levels),
        "steps": STEPS,
        "seeds": SEEDS,
        "recipe": text,
        "recipe_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "versions": {"xtrain": "1", backend: "2"},
        "system": "a test's",
    }
    facts |= {key: changes.pop(key) for key in list(changes) if key in facts}
    losses = [[2.0 / step * (1 + units * EPSILON / 2) for step in range(1, STEPS + 1)] for units in UNITS]
    filled = {
        "terms": dict.fromkeys((*TERMS, *(f"optimizer.{key}" for key in OPTIMIZER)), "a term"),
        "batches": [f"{step:064x}" for step in range(STEPS)] if "P1" in levels else [],
        "tensors": {
            level: [tensors(draw) for draw in range(len(UNITS))]
            for level in ("P2", "P3", "P4")
            if level in levels
        },
        "losses": losses if "P5" in levels else [],
        "outcomes": [0.91, 0.93, 0.92] if "P6" in levels else [],
    }
    return Trace(facts, **filled | changes)

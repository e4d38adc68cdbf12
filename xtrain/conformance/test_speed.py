"""What makes every step slow and changes no number: compiling again, and waiting for the device."""

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from xtrain.conformance.cases import MLP, split, step_input
from xtrain.conformance.parts import Parts, batch, build
from xtrain.protocols import Backend
from xtrain.spec import SGD, Dropout, Flatten, Linear, ModelSpec, ReLU, StepInput

TURNS = 17
ROUNDS = 3

# Eager backends, and compiled ones that take the values as arguments, need the same time either way, up to
# some 10 % for the arguments. A compilation takes 20 ms and more, where a step of this net takes 1 ms.
CHANGED_BY_UNCHANGED = 5.0

# The reference needs 0.2 ms for a step of this net, our frameworks 0.6 to 0.9 ms, waiting included. A backend
# that compiles at each step needs 50 to 300 ms. The reference is timed in turn with the backend, so a slow or
# busy machine slows down both.
STEP_BY_REFERENCE = 60.0


def test_nothing_is_compiled_again(backend: Backend, reference: Backend) -> None:
    """Fifty steps over batches of one size: some repeat their values, some have values that are new.

    They take turns, each is waited for, and what is compared is the quickest of each kind. A compilation is
    in every step of its kind, so that it is in the quickest too. What disturbs a busy machine is not: two
    frameworks that fight over the cores can slow down one step a hundredfold, and even most, but seldom all
    of a kind, and not in three rounds.
    """
    ours, theirs = timer(backend), timer(reference)
    fixed, fresh = step_input(MLP), changing_steps(MLP)
    for step in (fixed, next(fresh)):  # these may compile
        ours(step)
        theirs(step)
    for _ in range(ROUNDS):
        times = [(ours(fixed), ours(next(fresh)), theirs(fixed)) for _ in range(TURNS)]
        same, changed, base = (1000 * min(each) for each in zip(*times, strict=True))
        if changed <= CHANGED_BY_UNCHANGED * same and same <= STEP_BY_REFERENCE * base:
            return
    assert changed <= CHANGED_BY_UNCHANGED * same, (
        f"a step with a new lr, momentum, share, number and dropout keys takes {changed:.1f} ms, "
        f"one that repeats them {same:.1f} ms: it is compiled again for each new value"
    )
    assert same <= STEP_BY_REFERENCE * base, (
        f"a step of a very small net takes {same:.1f} ms, {same / base:.0f} times as long as under "
        f"the reference: it is compiled again each time"
    )


def changing_steps(model: ModelSpec) -> Iterator[StepInput]:
    """Steps no value of which has been there before."""
    for number in itertools.count(2):
        step = step_input(model, number, lr=0.01 / number)
        yield replace(step, momentum=1 - 1 / number, share=1 / (100 + number), first_rows=(7 * number,))


def timer(under: Backend) -> Callable[[StepInput], float]:
    """A function that makes a step, waits for it and returns the seconds that it took."""
    parts, data = build(under, MLP, SGD(momentum=0.9)), batch(under, split(MLP))

    def timed(step: StepInput) -> float:
        begin = time.perf_counter()
        parts.loop.read([parts.loop.train_step([data], step)])
        return time.perf_counter() - begin

    return timed


WIDTHS = (256, 512, 1024, 2048, 4096, 8192)
LONG = 0.02
"""Seconds of a step beside which Python's own time for it, about a millisecond, is small."""
QUEUED = 3
TRIES = 5
WAITED = 0.5
"""Calls that take this share of the whole time have waited. Those of one that waits take nearly all of it."""


@pytest.mark.usefixtures("asynchronous_alone")
def test_a_step_does_not_wait_for_the_device(backend: Backend) -> None:
    """How much of the time of some steps passes in `train_step`, and how much in `read`.

    The net is made so wide that the device needs 20 ms for a step. The calls of an asynchronous backend are
    over long before the work is: they take a few milliseconds, and `read` the rest. Of several tries the best
    counts, because other load on the machine only makes the calls longer.
    """
    parts, data, steps = long_steps(backend)
    shares = [share_of_the_calls(parts, data, steps) for _ in range(TRIES)]
    assert min(shares) <= WAITED, (
        f"{QUEUED} calls of train_step take {min(shares):.0%} of the time until their values are read: "
        f"something in them waits for the device"
    )


def share_of_the_calls(parts: Parts, data: Any, steps: Iterator[StepInput]) -> float:
    """Time of some calls of `train_step` by the time until their values are there."""
    queued = [next(steps) for _ in range(QUEUED)]
    begin = time.perf_counter()
    handles = [parts.loop.train_step([data], step) for step in queued]
    called = time.perf_counter()
    parts.loop.read(handles)
    return (called - begin) / (time.perf_counter() - begin)


def long_steps(backend: Backend) -> tuple[Parts, Any, Iterator[StepInput]]:
    """Parts, a batch, and steps that the device works on for 20 ms each, or as long as the widest net takes.

    Each step has values of its own, because handing them to the device may wait as well.
    """
    for width in WIDTHS:
        layers = (Flatten(), Linear(out_features=width), ReLU(), Dropout(p=0.25), Linear(out_features=width))
        model = ModelSpec("wide", (1, 16, 16), (*layers, ReLU(), Linear(out_features=5)))
        parts, native = build(backend, model), batch(backend, split(model, 256))
        steps = changing_steps(model)
        for step in itertools.islice(steps, 2):  # the first may compile
            begin = time.perf_counter()
            parts.loop.read([parts.loop.train_step([native], step)])
            seconds = time.perf_counter() - begin
        if seconds >= LONG:
            break
    return parts, native, steps

"""Backends that are wrong in what no single value shows: steps, memory, time, threads and their own name.

As in `mutants.py`, each is the NumPy reference with one mistake; these passed for a JAX backend once.
"""

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
from mutants import Plugin, _loop
from xtrain_numpy.backend import NumpyBackend
from xtrain_numpy.loop import NumpyLoop
from xtrain_numpy.model import NumpyModel
from xtrain_numpy.optimizer import NumpyOptimizer

from xtrain.plugins import hookimpl


def baked(*names: str) -> Plugin:
    """A compiled step in which values of the first one are constants."""

    class Baked(NumpyLoop):
        first: Any = None

        def train_step(self, batches: Sequence[Any], step: Any) -> Any:
            self.first = self.first or step
            kept = {name: getattr(self.first, name) for name in names}
            return super().train_step(batches, replace(step, **kept))

    return Plugin(f"baked_{names[0]}", loop=_loop(Baked))


class StatisticsOfTheLast(NumpyLoop):
    """Each batch of a step begins with the statistics of before the step."""

    def _backward(self, batches: Sequence[Any], step: Any) -> Any:
        tensors = self._model.tensors
        before = {name: value.copy() for name, value in tensors.items() if "running" in name}
        handle, sums = [], None
        for index, batch in enumerate(batches):
            for name, value in before.items():
                tensors[name][...] = value
            own, gradients = super()._backward([batch], replace(step, first_rows=(step.first_rows[index],)))
            handle += own
            sums = {n: g + (sums[n] if sums else 0) for n, g in gradients.items()}
        return handle, sums


class StatisticsInReverse(NumpyLoop):
    """The batches of a step are taken from the last to the first."""

    def _backward(self, batches: Sequence[Any], step: Any) -> Any:
        handle, sums = super()._backward(
            batches[::-1], replace(step, first_rows=step.first_rows[: len(batches)][::-1])
        )
        return handle[::-1], sums


class StillTrace(NumpyModel):
    """A trace over a copy of the statistics."""

    def trace(self, *given: Any, **named: Any) -> Any:
        before = self.state()
        outputs = super().trace(*given, **named)
        self.load(before)
        return outputs


def taken(given: Any) -> bool:
    """Whether JAX would take an array over without a copy."""
    return given.ctypes.data % 64 == 0


class AliasedModel(NumpyModel):
    """A load that takes the caller's memory over where that is aligned."""

    def load(self, state: Any) -> None:
        self.tensors = {name: v if taken(v) else v.astype(np.float64) for name, v in state.items()}


class AliasedInPlace(NumpyModel):
    """A load that takes the caller's memory over and puts its own values back, until the next update."""

    def load(self, state: Any) -> None:
        super().load(state)
        self.loaded = {name: v for name, v in state.items() if taken(v) and v.dtype == np.float64}


class WritesBack(NumpyLoop):
    """An update in place of the memory that was loaded."""

    def train_step(self, batches: Sequence[Any], step: Any) -> Any:
        handle = super().train_step(batches, step)
        for name, value in getattr(self._model, "loaded", {}).items():
            value[...] = self._model.tensors[name]
        return handle


class AliasedOptimizer(NumpyOptimizer):
    """A load that takes the caller's memory over where that is aligned."""

    def load(self, state: Any) -> None:
        self._updates = int(state["step"])
        self._buffers = {name: v if taken(v) else v.copy() for name, v in state.items() if name != "step"}


class SharedBuffers(NumpyOptimizer):
    """A state that is not a copy."""

    def state(self) -> Any:
        return {"step": np.array(self._updates), **self._buffers}


class Compiles(NumpyLoop):
    """20 ms of compiling for each step whose values it has not seen: the best that a framework needs."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._seen: set[Any] = set()

    def train_step(self, batches: Sequence[Any], step: Any) -> Any:
        known = self.known(step)
        if known not in self._seen:
            self._seen.add(known)
            time.sleep(0.02)
        return super().train_step(batches, step)

    def known(self, step: Any) -> Any:
        """What the compiled steps are kept under."""
        return step


class CompilesForEachRate(Compiles):
    """The learning rate alone is a constant of the compiled step."""

    def known(self, step: Any) -> Any:
        return step.lr


class CompilesForEachMask(Compiles):
    """The dropout keys alone are."""

    def known(self, step: Any) -> Any:
        return step.dropout_keys


class CompilesAlways(Compiles):
    """A new function is compiled at each step, whatever its values are."""

    def known(self, step: Any) -> Any:
        time.sleep(0.05)
        return object()


class Worker(NumpyLoop):
    """Steps on a thread of their own, one after the other, as on a device."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._thread = ThreadPoolExecutor(1)

    def train_step(self, batches: Sequence[Any], step: Any) -> Any:
        return self._thread.submit(super().train_step, batches, step)

    def read(self, handles: Sequence[Future[Any]]) -> Any:
        return super().read([handle.result() for handle in handles])


class Waits(Worker):
    """The same, but each step is waited for, as where a loss is turned into a number."""

    def train_step(self, batches: Sequence[Any], step: Any) -> Any:
        handle = super().train_step(batches, step)
        handle.result()
        return handle


def asynchronous(name: str, loop: type) -> Plugin:
    """A backend that says of itself that its steps go on while Python does."""
    return Plugin(
        name, loop=_loop(loop), found=lambda self: replace(NumpyBackend.found(self), asynchronous=True)
    )


class AllCores:
    """A matrix product on two threads, whatever number was asked for."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(2)

    def busy(self, seconds: float) -> None:
        """Both work for so long."""
        list(self._pool.map(self._work, [seconds] * 2))

    def _work(self, seconds: float) -> None:
        values, until = np.random.default_rng(0).random((400, 400)), time.thread_time() + seconds
        while time.thread_time() < until:
            np.sin(values)  # without the interpreter's lock


class IgnoresThreads(NumpyLoop):
    """A share of each step is worked on by two threads."""

    cores = AllCores()

    def train_step(self, batches: Sequence[Any], step: Any) -> Any:
        self.cores.busy(0.02)
        return super().train_step(batches, step)


class Misnamed:
    """Offers a backend under another name than its own."""

    @hookimpl
    def xtrain_backend(self, device: str, threads: int | None) -> Any:
        return NumpyBackend(device, threads)


def _model(kind: type) -> Any:
    return lambda self, spec: kind(spec)


def _optimizer(kind: type) -> Any:
    return lambda self, spec, model: kind(spec, model)


# Name, the test that must catch it, the plugin.
MUTANTS: dict[str, tuple[str, Any]] = {
    "baked_lr": ("each_step_takes_its_own", baked("lr", "momentum")),
    "baked_momentum": ("each_step_takes_its_own", baked("momentum")),
    "baked_share": ("each_step_takes_its_own", baked("share")),
    "baked_dropout_keys": ("each_step_takes_its_own", baked("dropout_keys")),
    "baked_first_rows": ("each_step_takes_its_own", baked("first_rows")),
    "statistics_of_the_last": (
        "statistics_move_once_for_each",
        Plugin("statistics_of_the_last", loop=_loop(StatisticsOfTheLast)),
    ),
    "statistics_in_reverse": (
        "statistics_move_once_for_each",
        Plugin("statistics_in_reverse", loop=_loop(StatisticsInReverse)),
    ),
    "still_trace": ("trace_in_training_moves", Plugin("still_trace", model=_model(StillTrace))),
    "aliased_model": (
        "weights_that_were_loaded_are_copied",
        Plugin("aliased_model", model=_model(AliasedModel)),
    ),
    "aliased_in_place": (
        "training_writes_into_nothing",
        Plugin("aliased_in_place", model=_model(AliasedInPlace), loop=_loop(WritesBack)),
    ),
    "aliased_optimizer": (
        "optimizer_state_that_was_loaded_is_copied",
        Plugin("aliased_optimizer", optimizer=_optimizer(AliasedOptimizer)),
    ),
    "shared_buffers": (
        "what_is_handed_out_is_a_copy",
        Plugin("shared_buffers", optimizer=_optimizer(SharedBuffers)),
    ),
    "misnamed": ("entry_point_is_named", Misnamed()),
    "compiles_each_value": ("nothing_is_compiled", Plugin("compiles_each_value", loop=_loop(Compiles))),
    "compiles_each_rate": (
        "nothing_is_compiled",
        Plugin("compiles_each_rate", loop=_loop(CompilesForEachRate)),
    ),
    "compiles_each_mask": (
        "nothing_is_compiled",
        Plugin("compiles_each_mask", loop=_loop(CompilesForEachMask)),
    ),
    "compiles_always": ("nothing_is_compiled", Plugin("compiles_always", loop=_loop(CompilesAlways))),
    "waits": ("does_not_wait_for_the_device", asynchronous("waits", Waits)),
    "ignores_threads": ("one_thread_is_one", Plugin("ignores_threads", loop=_loop(IgnoresThreads))),
}

RIGHT = {"worker": ("does_not_wait_for_the_device", asynchronous("worker", Worker))}
"""Not wrong: beside a mutant, to show that the row notices the mistake and not its surroundings."""

globals().update({name: plugin for name, (_, plugin) in (MUTANTS | RIGHT).items()})

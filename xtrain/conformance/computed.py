"""What a backend gives for each case, under the names of `published.json`, computed once.

A framework that compiles needs up to a second for each graph, so rows that look at the same values share
them. What comes back is shared: a row must not write into it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from xtrain import plan
from xtrain.conformance.cases import CLASSES, LOSSES, MLP, OPTIMIZERS, SAMPLES, Case, split, step_input
from xtrain.conformance.noise import nudged
from xtrain.conformance.parts import batch, build
from xtrain.protocols import Backend
from xtrain.spec import Flatten, Linear, LogSoftmax, LossSpec, ModelSpec, OptimizerSpec, State, StepInput

P = ParamSpec("P")
T = TypeVar("T")

LOSS_DATA = split(MLP)
STEPS = 10
MOVED = ("sgd_momentum", "sgd_nesterov", "rmsprop_everything", "adam", "adamw")
"""Optimizers that are also tried with another momentum at each step, under their name and a suffix."""
SUFFIX = "_moved_momentum"
UPDATES: dict[str, OptimizerSpec] = OPTIMIZERS | {f"{name}{SUFFIX}": OPTIMIZERS[name] for name in MOVED}


def once(compute: Callable[Concatenate[Backend, P], T]) -> Callable[Concatenate[Backend, P], T]:
    """Keep what a function gives for the same arguments; a backend need not be hashable."""
    kept: dict[Any, tuple[Backend, T]] = {}

    @wraps(compute)
    def shared(under: Backend, /, *given: P.args, **named: P.kwargs) -> T:
        key = (id(under), given, *named.items())
        if key not in kept:
            kept[key] = under, compute(under, *given, **named)  # it lives on: its id is no other's
        return kept[key][1]

    return shared


def start(model: ModelSpec, seed: int = 0) -> State:
    """The weights that a case begins with; a seed moves them in the last place of float32."""
    state = plan.initial_state(0, model)
    return nudged(state, seed) if seed else state


@once
def in_float64(under: Backend) -> bool:
    """Whether a backend computes in float64, as its state says; False of one that builds no small net."""
    try:
        state = build(under, MLP).model.state()
    except Exception:  # noqa: BLE001 - whatever it is, each row tells it
        return False
    return {value.dtype for value in state.values()} == {np.dtype(np.float64)}


@once
def layer_outputs(under: Backend, case: Case, seed: int) -> State:
    """Logits in evaluation and in training, and the running statistics that the training pass leaves."""
    data, model = split(case.model), build(under, case.model, state=start(case.model, seed)).model
    images = under.dataset(data).read(batch(under, data))[0]
    found = {
        "evaluation": _last(model.trace(images, None)),
        "training": _last(model.trace(images, step_input(case.model))),
    }
    return found | {name: value for name, value in model.state().items() if "running" in name}


@once
def layer_gradients(under: Backend, case: Case, seed: int) -> State:
    """Gradient of the mean cross entropy by each parameter."""
    loop = build(under, case.model, state=start(case.model, seed)).loop
    return loop.gradients(batch(under, split(case.model)), step_input(case.model))


def loss_model(loss: LossSpec) -> ModelSpec:
    """One linear layer; for `nll` it ends in log-probabilities."""
    layers = (Flatten(), Linear(out_features=CLASSES))
    return ModelSpec("losses", (1, 4, 6), (*layers, LogSoftmax()) if loss.name == "nll" else layers)


def loss_step(loss: LossSpec, sizes: Sequence[int] = (SAMPLES,)) -> StepInput:
    """A step over all of the samples, in batches of these sizes, as the plan weighs them."""
    share = 1 / plan.weight(LOSS_DATA.labels, loss.class_weights) if loss.reduction == "mean" else 1.0
    return replace(step_input(loss_model(loss), sizes=sizes), share=share)


@once
def loss_values(under: Backend, name: str, seed: int) -> State:
    """A loss as it is reduced, the number of correct predictions, and the gradient by each parameter."""
    loss = LOSSES[name]
    loop = build(under, loss_model(loss), state=start(loss_model(loss), seed), loss=loss).loop
    (figures,) = loop.read([loop.eval_step(batch(under, LOSS_DATA))])
    gradients = loop.gradients(batch(under, LOSS_DATA), loss_step(loss))
    reduced = np.array(figures.loss_sum * loss_step(loss).share)
    return {"loss": reduced, "correct": np.array(figures.correct, dtype=np.float64)} | gradients


def fed_gradients(number: int, seed: int = 0) -> State:
    """Gradients of all sizes: ordinary ones, some near Adam's eps, some far below it, some zero."""
    scales = np.array([1.0, 1e-3, 1e-8, 1e-10, 0.0])
    gradients: State = {}
    for name in MLP.trainable:
        shape = MLP.tensors[name].shape
        words = plan.words(number, f"gradient/{name}", 2 * int(np.prod(shape))).reshape(2, -1)
        sign = words[0].astype(np.float64) / 2**63 - 1
        scale = scales[(words[1] % np.uint64(len(scales))).astype(np.int64)]
        gradients[name] = (sign * scale).astype(np.float32).reshape(shape)
    return nudged(gradients, seed) if seed else gradients


def biases_at_zero() -> State:
    """First weights whose biases are zero, so that small updates show and are not rounded away."""
    state = plan.initial_state(0, MLP)
    return {name: np.zeros_like(v) if name.endswith("bias") else v for name, v in state.items()}


def fed_step(spec: OptimizerSpec, number: int, moved: bool) -> StepInput:
    """Step `number` on fed gradients: another lr each time and, where it is moved, another momentum."""
    momentum = 0.95 - 0.04 * number if moved else None
    return StepInput(number, spec.lr * (1 + number % 3), momentum)


@once
def ten_steps(under: Backend, name: str, seed: int) -> State:
    """Parameters and buffers after ten steps on fed gradients, and `step`."""
    spec = UPDATES[name]
    parts = build(under, MLP, spec, biases_at_zero())
    for number in range(1, STEPS + 1):
        parts.optimizer.step(fed_gradients(number, seed), fed_step(spec, number, name.endswith(SUFFIX)))
    return parts.model.state() | parts.optimizer.state()


def _last(outputs: State) -> NDArray[np.float64]:
    """What the last layer gave."""
    return list(outputs.values())[-1]

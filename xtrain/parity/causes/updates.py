"""Causes in the optimizer: what the reference gives with another option, moment, gradient or step."""

import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np

from xtrain.parity.causes.situation import Array, Cause, Predict, Situation
from xtrain.spec import SGD, Adagrad, Adam, AdamW, RMSprop, State

_MANY = 10**9
"""Steps after which nothing is left of Adam's bias correction."""
_NOTHING = 1e-300
"""An epsilon that is none."""
_EPSILONS = (1e-3, 1e-5, 1e-6, 1e-7, 1e-8, 1e-10)

Update = Callable[[Situation], State | None]


def _predict(update: Update) -> Predict:
    def predict(s: Situation, name: str) -> Array | None:
        found = s.once(update)
        return None if found is None else found[name]

    return predict


def _option(**changes: Any) -> Update:
    """With other options; None where the optimizer has none of the name, or the same."""

    def update(s: Situation) -> State | None:
        given = s.optimizer
        if not all(hasattr(given, key) and getattr(given, key) != value for key, value in changes.items()):
            return None
        return s.updated(optimizer=replace(given, **changes))

    return update


def _moments(s: Situation, name: str, change: Callable[[Array], Array]) -> State:
    return {key: change(v) if key.endswith(f"/{name}") else v for key, v in s.moments.items()}


def _eps_inside(s: Situation) -> State | None:
    """sqrt(v + eps) in place of sqrt(v) + eps: eps goes into v beforehand."""
    given = s.optimizer
    if isinstance(given, Adam | AdamW):
        (_, beta), t = given.betas, int(s.moments["step"]) + 1
        more, name = given.eps * (1 - beta**t) / beta if beta else math.nan, "exp_avg_sq"
    elif isinstance(given, RMSprop):
        more, name = given.eps / given.alpha if given.alpha else math.nan, "square_avg"
    elif isinstance(given, Adagrad):
        more, name = given.eps, "sum"
    else:
        return None
    moments = _moments(s, name, lambda v: v.astype(np.float64) + more)
    return s.updated(replace(given, eps=_NOTHING), moments=moments) | _moments_after(s)


def _moments_after(s: Situation) -> State:
    """The right ones."""
    return {key: value for key, value in s.updated().items() if "/" in key}


def _eps_uncorrected(s: Situation) -> State | None:
    """(sqrt(v) + eps) / sqrt(1 - b2^t) in place of sqrt(v / (1 - b2^t)) + eps."""
    given = s.optimizer
    if not isinstance(given, Adam | AdamW):
        return None
    share = math.sqrt(1 - given.betas[1] ** (int(s.moments["step"]) + 1))
    return s.updated(replace(given, eps=given.eps / share))


def _uncorrected(s: Situation) -> State | None:
    if not isinstance(s.optimizer, Adam | AdamW):
        return None
    return s.updated(moments=s.moments | {"step": np.array(_MANY)})


def _correction_ahead(s: Situation) -> State | None:
    if not isinstance(s.optimizer, Adam | AdamW):
        return None
    return s.updated(moments=s.moments | {"step": s.moments["step"] + 1})


def _dampened_first(s: Situation) -> State | None:
    given = s.optimizer
    if not isinstance(given, SGD) or not given.dampening or int(s.moments["step"]):
        return None
    return s.updated(moments=s.moments | {"step": np.array(1)})


def _averaged_momentum(first_too: bool) -> Update:
    def update(s: Situation) -> State | None:
        given = s.optimizer
        if not isinstance(given, SGD) or not given.momentum or given.nesterov:
            return None
        moments = s.moments | ({"step": np.array(1)} if first_too and not int(s.moments["step"]) else {})
        return s.updated(replace(given, dampening=given.momentum), moments=moments)

    return update


def _lr_in_momentum(s: Situation) -> State | None:
    """buffer = momentum * buffer + lr * g; w -= buffer."""
    given = s.optimizer
    if not isinstance(given, SGD) or not given.momentum or not s.step.lr:
        return None
    decayed = given.decayed(s.model)
    gradients = {
        name: s.step.lr * (g + (given.weight_decay * s.weights[name] if name in decayed else 0))
        for name, g in s.gradients.items()
    }
    return s.updated(replace(given, weight_decay=0.0), gradients=gradients, step=replace(s.step, lr=1.0))


def _other_decay(s: Situation) -> State | None:
    """Decoupled for coupled, and the other way round."""
    given = s.optimizer
    if not given.weight_decay:
        return None
    options = {field.name: getattr(given, field.name) for field in fields(given) if field.name != "name"}
    if isinstance(given, AdamW):
        return s.updated(Adam(**options))
    if isinstance(given, Adam):
        return s.updated(AdamW(**options))
    found = s.updated(replace(given, weight_decay=0.0))
    for name in given.decayed(s.model):
        found[name] = found[name] - s.step.lr * given.weight_decay * s.weights[name]
    return found


def _lr_of(shift: int) -> Update:
    def update(s: Situation) -> State | None:
        number = s.number + shift
        if not 1 <= number <= s.job.steps:
            return None
        lr = s.bench.step(number).lr
        return None if lr == s.step.lr else s.updated(step=replace(s.step, lr=lr))

    return update


def _first_lr(s: Situation) -> State | None:
    """The optimizer's own, whatever the schedule says."""
    lr = s.optimizer.lr
    return None if lr == s.step.lr else s.updated(step=replace(s.step, lr=lr))


def _momentum_still(s: Situation) -> State | None:
    return None if s.step.momentum is None else s.updated(step=replace(s.step, momentum=None))


def _betas_swapped(s: Situation) -> State | None:
    given = s.optimizer
    if not isinstance(given, Adam | AdamW):
        return None
    return s.updated(replace(given, betas=given.betas[::-1]))


def _starts_at(value: float) -> Update:
    """A mean square, or sum of squares, that is not 0 before the first step."""

    def update(s: Situation) -> State | None:
        if int(s.moments["step"]) or not isinstance(s.optimizer, RMSprop | Adagrad):
            return None
        name = "sum" if isinstance(s.optimizer, Adagrad) else "square_avg"
        return s.updated(moments=_moments(s, name, lambda v: v + value))

    return update


def _clipped_alone(s: Situation) -> State | None:
    """Each gradient by its own norm, not by that of all together."""
    given = s.optimizer
    if given.clip_norm is None or given.l1 or given.l2 or given.clip_value:
        return None
    norms = {name: float(np.sqrt((g.astype(np.float64) ** 2).sum())) for name, g in s.gradients.items()}
    gradients = {
        name: g * min(1.0, given.clip_norm / (norms[name] + 1e-6)) for name, g in s.gradients.items()
    }
    return s.updated(replace(given, clip_norm=None), gradients=gradients)


def _averages_from_zero(s: Situation) -> State | None:
    given = s.optimizer
    if given.ema is None:
        return None
    found = s.updated()
    for name in s.model.trainable:
        key = f"{name}/ema"
        found[key] = given.ema * s.moments[key] + (1 - given.ema) * found[name]
    return found


def _ascent(s: Situation) -> State | None:
    return s.updated(gradients={name: -g for name, g in s.gradients.items()})


def _nothing(s: Situation) -> State | None:
    return s.moments | {name: s.weights[name] for name in s.model.trainable}


CAUSES = tuple(
    Cause(name, _predict(update))
    for name, update in {
        "epsilon is inside the root": _eps_inside,
        "epsilon is added before the bias correction": _eps_uncorrected,
        "the bias correction is missing": _uncorrected,
        "the bias correction is one step ahead": _correction_ahead,
        "betas are exchanged": _betas_swapped,
        "the first step is dampened": _dampened_first,
        "the momentum buffer is an average: (1 - momentum) * gradient": _averaged_momentum(False),
        "the momentum buffer is an average, from the first step on": _averaged_momentum(True),
        "the learning rate is inside the momentum buffer": _lr_in_momentum,
        "nesterov is ignored": _option(nesterov=False),
        "weight decay is decoupled where it should be coupled, or the other way round": _other_decay,
        "weight decay is ignored": _option(weight_decay=0.0),
        "weight decay reaches what decay_exclude leaves out": _option(decay_exclude=()),
        "weight decay leaves out biases and norms": _option(decay_exclude=("bias", "norm")),
        "weight decay leaves out biases": _option(decay_exclude=("bias",)),
        "weight decay leaves out norms": _option(decay_exclude=("norm",)),
        "the learning rate is that of the step before": _lr_of(-1),
        "the learning rate is that of the step after": _lr_of(1),
        "the learning rate is the optimizer's own: the schedule is ignored": _first_lr,
        "the momentum does not follow the schedule": _momentum_still,
        "the mean square starts at 1": _starts_at(1.0),
        "the sum of squares starts at 0.1": _starts_at(0.1),
        "lr_decay is ignored": _option(lr_decay=0.0),
        "centered is ignored": _option(centered=False),
        "clip_norm is ignored": _option(clip_norm=None),
        "clip_value is ignored": _option(clip_value=None),
        "each gradient is clipped by its own norm": _clipped_alone,
        "l1 is ignored": _option(l1=0.0),
        "l2 is ignored": _option(l2=0.0),
        "averages of the weights start from zero": _averages_from_zero,
        "the sign is inverted: ascent": _ascent,
        "the weights do not move": _nothing,
        **{f"epsilon is {eps:g}": _option(eps=eps) for eps in _EPSILONS},
    }.items()
)

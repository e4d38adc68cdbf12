"""One training step, phase by phase: a leader's, and another backend's that is fed the leader's values.

Every phase starts from what the leader had, so that no error of an earlier phase or layer is carried on.
Names in the states: `weights/fc1.weight` and `moments/fc1.weight/exp_avg` as the step finds them,
`inputs/train/fc1`, `gradients/fc1.weight`. What is observed is named by its phase.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from xtrain.parity import probe
from xtrain.parity.bench import JUMPS, Bench, moved
from xtrain.spec import Node, State, StepInput

PHASES = ("data", "forward", "loss", "backward", "optimizer", "buffers", "step")
"""`step` is the training step as a whole, whose fast path need not be the sum of its parts."""


def lead(bench: Bench, numbers: Sequence[int]) -> dict[int, State]:
    """Train, and keep of each of the given steps what it begins with and what passes through it."""
    found, model, optimizer = {}, bench.parts.model, bench.parts.optimizer
    bench.reset(moved(bench.initial, 0))
    for number in range(1, max(numbers) + 1):
        if number in numbers:
            weights, moments = model.state(), optimizer.state()
            found[number] = _passing(bench, number, weights, moments)
            bench.reset(weights, moments)
        bench.parts.loop.train_step(bench.groups(number), bench.step(number))
    return found


def follow(bench: Bench, number: int, leader: State, draw: int) -> State:
    """Every phase of a step from the leader's values, nudged as draw `draw` has it."""
    given = moved(leader, draw)
    weights, moments = part(given, "weights"), part(given, "moments")
    step, weight = bench.step(number, probe.SAMPLES), bench.weight(number, probe.SAMPLES)
    model, loop, optimizer = bench.parts.model, bench.parts.loop, bench.parts.optimizer
    batch = bench.batch(number, probe.SAMPLES, draw)
    images, labels = bench.parts.train.dataset.read(batch)
    found: State = {"data/images": images, "data/labels": labels}
    for mode, now in _modes(step):
        bench.reset(weights, moments)
        outputs = model.trace(images, now, part(given, f"inputs/{mode}"))
        found |= {f"forward/{mode}/{path}": value for path, value in outputs.items()}
    bench.reset(weights, moments)
    handles = [loop.eval_step(batch), loop.train_step([batch], step)]
    whole = model.state()
    for mode, metrics in zip(("eval", "train"), loop.read(handles), strict=True):
        found[f"loss/{mode}"] = np.array([metrics.loss_sum / weight])
    bench.reset(part(moved(leader, draw, JUMPS), "weights"), moments)
    # The way back begins at the end: the first gradient that is wrong is the one that comes first here.
    gradients = loop.gradients(bench.batch(number, probe.SAMPLES, draw, JUMPS), step)
    found |= {f"backward/{name}": gradients[name] for name in reversed(bench.spec.trainable)}
    found |= {f"buffers/{name}": model.state()[name] for name in bench.buffers}
    bench.reset(weights, moments)
    optimizer.step(part(given, "gradients"), step)
    after = model.state()
    found |= {f"optimizer/{name}": value for name, value in optimizer.state().items()}
    found |= {f"optimizer/{name}": after[name] for name in bench.spec.trainable}
    return found | {f"step/{name}": value for name, value in whole.items()}


def part(state: State, prefix: str) -> State:
    """What stands under a prefix, without it."""
    return {name.removeprefix(f"{prefix}/"): v for name, v in state.items() if name.startswith(f"{prefix}/")}


def inputs(nodes: Sequence[Node], x: NDArray[np.generic], outputs: State) -> State:
    """What every layer was fed, by path, from the images and every layer's output."""
    found: State = {}
    for node in nodes:
        found[node.path] = x
        found |= inputs(node.body, x, outputs) | inputs(node.shortcut, x, outputs)
        x = outputs[node.path]
    return found


def _passing(bench: Bench, number: int, weights: State, moments: State) -> State:
    batch, step = bench.batch(number, probe.SAMPLES, 0), bench.step(number, probe.SAMPLES)
    images, _ = bench.parts.train.dataset.read(batch)
    found = {f"weights/{name}": value for name, value in weights.items()}
    found |= {f"moments/{name}": value for name, value in moments.items()}
    for mode, now in _modes(step):
        bench.reset(weights, moments)
        fed = inputs(bench.spec.nodes, images, bench.parts.model.trace(images, now))
        found |= {f"inputs/{mode}/{path}": value for path, value in fed.items()}
    bench.reset(weights, moments)
    gradients = bench.parts.loop.gradients(batch, step)
    return moved(found | {f"gradients/{name}": value for name, value in gradients.items()}, 0)


def _modes(step: StepInput) -> tuple[tuple[str, StepInput | None], ...]:
    return ("train", step), ("eval", None)

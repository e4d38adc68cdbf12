"""A small backend that is real: softmax regression over the flattened pixels, in NumPy, deterministic.

It trains models that are one linear layer over the pixels, writes down what it is asked for in `calls`, and
breaks on request through `fault`.
"""

import numpy as np

from xtrain.data.batches import assemble
from xtrain.plugins import hookimpl
from xtrain.spec import Metrics, Probe

calls = []
"""In order: ("train", step input, indices), ("eval", count), ("read", handles), ("batches", how many)."""


class Fault:
    """Steps: whose loss is not finite, after which a weight is not, after which the test loss is not."""

    def __init__(self):
        self.loss_at = self.weight_at = self.test_loss_at = None


fault = Fault()


def reset():
    """Forget all calls and faults."""
    calls.clear()
    fault.__init__()


@hookimpl
def xtrain_backend(device, threads):
    """Make the backend."""
    return FakeBackend(device, threads)


class FakeBackend:
    name, framework, install, rank = "fake", "", "copy it", 2000

    def __init__(self, device, threads):
        self.device, self.threads = device, threads

    def environment(self, model, threads):
        return {"XTRAIN_FAKE_THREADS": str(threads)} if threads else {}

    def probe(self):
        return Probe("1.0", devices=("cpu",), modes=("fake",), notes={"remark": "not a framework"})

    def explain(self, model, loss, optimizer):
        return {f"model.{node.path}": "fake" for node in model.walk()} | {"loss": "fake"}

    def dataset(self, split):
        self.device = "cpu"
        return FakeDataset(split)

    def model(self, spec):
        return FakeModel(spec)

    def optimizer(self, spec, model):
        return FakeOptimizer(spec, model)

    def loop(self, model, loss, optimizer):
        return FakeLoop(model, optimizer)


class FakeDataset:
    def __init__(self, split):
        self.split = split

    def __len__(self):
        return len(self.split.labels)

    def batches(self, draws):
        calls.append(("batches", len(draws.batches)))
        for indices, batch in zip(draws.batches, assemble(self.split, draws), strict=True):
            yield (indices, *batch)

    def read(self, batch):
        return batch[1:]


class FakeModel:
    def __init__(self, spec):
        self.native = self.tensors = {name: np.zeros(tensor.shape) for name, tensor in spec.tensors.items()}

    def state(self):
        return {name: tensor.copy() for name, tensor in self.tensors.items()}

    def load(self, state):
        for name, tensor in self.tensors.items():
            tensor[...] = state[name]

    def predict(self, images):
        weight, bias = self.tensors.values()
        return images.reshape(len(images), -1).astype(np.float64) @ weight.T + bias

    def trace(self, images, step, inputs=None):
        name = next(iter(self.tensors)).rpartition(".")[0]
        return {name: self.predict((inputs or {}).get(name, images))}


class FakeOptimizer:
    """Momentum of 0.5, so that there is a state to keep."""

    def __init__(self, spec, model):
        self.model, self.updates, self.ema = model, 0, spec.ema
        self.averages = {name: np.zeros_like(tensor) for name, tensor in model.tensors.items()}
        self.buffers = {name: np.zeros_like(tensor) for name, tensor in model.tensors.items()}

    def step(self, gradients, step):
        self.updates += 1
        for name, tensor in self.model.tensors.items():
            self.buffers[name] = 0.5 * self.buffers[name] + gradients[name]
            tensor[...] -= step.lr * self.buffers[name]
            share = 1.0 if self.updates == 1 else 1 - (self.ema or 0.0)
            self.averages[name] += share * (tensor - self.averages[name])

    def state(self):
        buffers = {f"{name}/momentum_buffer": value.copy() for name, value in self.buffers.items()}
        averages = {f"{name}/ema": value.copy() for name, value in self.averages.items()}
        return {"step": np.array(self.updates), **buffers, **(averages if self.ema else {})}

    def load(self, state):
        self.updates = int(state["step"])
        self.buffers = {name: state[f"{name}/momentum_buffer"].copy() for name in self.buffers}
        if self.ema:
            self.averages = {name: state[f"{name}/ema"].copy() for name in self.averages}


class FakeLoop:
    def __init__(self, model, optimizer):
        self.model, self.optimizer = model, optimizer

    def train_step(self, batches, step):
        indices, images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        calls.append(("train", step, indices))
        metrics = self._look(images, labels)[0]
        self.optimizer.step(self.gradients((indices, images, labels), step), step)
        if fault.weight_at == step.number:
            self.model.tensors[list(self.model.tensors)[1]][0] = np.inf
        return Metrics(np.nan, 0) if fault.loss_at == step.number else metrics

    def gradients(self, batch, step):
        images, labels = batch[1:]
        by_logits = self._look(images, labels)[1]
        found = (np.tensordot(by_logits, x, (0, 0)) * step.share for x in self._inputs(images))
        return dict(zip(self.model.tensors, found, strict=True))

    def eval_step(self, batch):
        calls.append(("eval", len(batch[0])))
        metrics = self._look(*batch[1:])[0]
        return Metrics(np.inf, 0) if fault.test_loss_at == self.optimizer.updates else metrics

    def read(self, handles):
        calls.append(("read", len(handles)))
        return list(handles)

    def _inputs(self, images):
        return images.reshape(len(images), -1).astype(np.float64), np.ones(len(images))

    def _look(self, images, labels):
        logits = self.model.predict(images)
        with np.errstate(invalid="ignore"):  # a weight that is not finite is asked for
            exp = np.exp(logits - logits.max(1, keepdims=True))
        chances = exp / exp.sum(1, keepdims=True)
        rows = np.arange(len(labels))
        metrics = Metrics(
            float(-np.log(chances[rows, labels]).sum()),
            int((logits.argmax(1) == labels).sum()),
        )
        chances[rows, labels] -= 1
        return metrics, chances

"""NumPy on the CPU: the semantics of every layer, loss and optimizer, written as code."""

from collections.abc import Mapping

import numpy as np
import threadpoolctl

from xtrain.errors import BackendError
from xtrain.spec import LossSpec, ModelSpec, OptimizerSpec, Probe, Split
from xtrain_numpy import terms
from xtrain_numpy.dataset import NumpyDataset
from xtrain_numpy.loop import NumpyLoop
from xtrain_numpy.model import NumpyModel
from xtrain_numpy.optimizer import NumpyOptimizer


class NumpyBackend:
    """The reference that the other backends are compared with: float64 throughout."""

    name = "numpy"
    framework = ""
    install = "pip install xtrain"
    rank = 1000

    def __init__(self, device: str, threads: int | None) -> None:
        self.device = device
        self._threads = threads

    def environment(self, model: ModelSpec | None, threads: int | None) -> Mapping[str, str]:
        """Nothing: NumPy is loaded already, and its threads are set when a device is opened."""
        return {}

    def probe(self) -> Probe:
        """NumPy is always there."""
        return Probe(
            np.__version__,
            devices=("cpu",),
            precisions=("float64",),
            modes=("reference",),
            notes={"precision": "the reference computes in float64 alone"},
        )

    def explain(self, model: ModelSpec, loss: LossSpec, optimizer: OptimizerSpec) -> Mapping[str, str]:
        """What each key becomes in NumPy's own terms."""
        return terms.explain(model, loss, optimizer)

    def dataset(self, split: Split) -> NumpyDataset:
        """Batches as arrays."""
        self._open()
        return NumpyDataset(split)

    def model(self, spec: ModelSpec) -> NumpyModel:
        """Layers with gradients by hand."""
        self._open()
        return NumpyModel(spec)

    def optimizer(self, spec: OptimizerSpec, model: NumpyModel) -> NumpyOptimizer:
        """The formula of the optimizer."""
        return NumpyOptimizer(spec, model)

    def loop(self, model: NumpyModel, loss: LossSpec, optimizer: NumpyOptimizer) -> NumpyLoop:
        """Plain steps."""
        return NumpyLoop(model, loss, optimizer)

    def _open(self) -> None:
        """Resolve the device and set the threads of the linear algebra library."""
        if self.device not in ("auto", "cpu"):
            raise BackendError(f"backend numpy has no device {self.device!r}", remedy="devices here: cpu")
        self.device = "cpu"
        if self._threads:
            threadpoolctl.threadpool_limits(self._threads)

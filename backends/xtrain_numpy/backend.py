"""NumPy on the CPU: what it finds, and the builders of the other four parts."""

from collections.abc import Mapping

import numpy as np

from xtrain.plugins import resolve_device
from xtrain.spec import LossSpec, ModelSpec, OptimizerSpec, Probe, Split, explain
from xtrain.system.distribution import install_command, need
from xtrain_numpy.dataset import NumpyDataset
from xtrain_numpy.layers import LAYERS
from xtrain_numpy.loop import NumpyLoop
from xtrain_numpy.losses import LOSSES
from xtrain_numpy.model import NumpyModel
from xtrain_numpy.optimizer import NumpyOptimizer
from xtrain_numpy.updates import SHARED, UPDATES

_DEVICES = ("cpu",)


class NumpyBackend:
    """The reference that the other backends are compared with: float64 throughout."""

    name = "numpy"
    framework = ""
    install = install_command()
    rank = 1000

    def __init__(self, device: str, threads: int | None) -> None:
        self.device = device
        self._threads = threads

    def environment(self, model: ModelSpec | None, threads: int | None) -> Mapping[str, str]:
        """Nothing: NumPy is loaded already, and its threads are set when a device is opened."""
        return {}

    def probe(self) -> Probe:
        """NumPy is always there."""
        notes = {"precision": "the reference computes in float64 alone"}
        return Probe(np.__version__, _DEVICES, ("float64",), modes=("reference",), notes=notes)

    def explain(self, model: ModelSpec, loss: LossSpec, optimizer: OptimizerSpec) -> Mapping[str, str]:
        """What each key becomes in NumPy's own terms."""
        return explain(model, loss, optimizer, LAYERS, LOSSES, UPDATES, SHARED)

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
        self.device = resolve_device(self.name, self.device, _DEVICES)
        if self._threads:
            need("threadpoolctl", "numpy", "--threads under NumPy")
            import threadpoolctl

            threadpoolctl.threadpool_limits(self._threads)

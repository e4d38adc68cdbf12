"""NumPy on the CPU: what it needs and finds; `BackendBase` builds the other four parts."""

from collections.abc import Mapping

import numpy as np

from xtrain.plugins import resolve_device
from xtrain.spec import FORMULAS, BackendBase, ModelSpec, Probe
from xtrain.system.distribution import install_command, need
from xtrain_numpy.layers import LAYERS
from xtrain_numpy.losses import LOSSES
from xtrain_numpy.updates import UPDATES

_DEVICES = ("cpu",)


class NumpyBackend(BackendBase):
    """The reference that the other backends are compared with: float64 throughout."""

    name, contract = "numpy", 1
    framework = ""
    install = install_command()
    rank = 1000
    package, prefix = "xtrain_numpy", "Numpy"
    tables = (LAYERS, LOSSES, UPDATES, FORMULAS)

    def environment(self, model: ModelSpec | None, threads: int | None) -> Mapping[str, str]:
        """Nothing: NumPy is loaded already, and its threads are set when a device is opened."""
        return {}

    def load(self) -> None:
        """NumPy is always there."""

    def found(self) -> Probe:
        """The CPU, and float64."""
        notes = {"precision": "the reference computes in float64 alone"}
        return Probe(np.__version__, _DEVICES, ("float64",), modes=("reference",), notes=notes)

    def open(self) -> str:
        """Resolve the device and set the threads of the linear algebra library."""
        self.device = resolve_device(self.name, self.device, _DEVICES)
        if self._threads:
            need("threadpoolctl", "numpy", "--threads under NumPy")
            import threadpoolctl

            threadpoolctl.threadpool_limits(self._threads)
        return self.device

"""What the framework needs and finds here; `BackendBase` builds the other four parts."""

from collections.abc import Mapping

from xtrain.plugins import resolve_device
from xtrain.spec import FORMULAS, BackendBase, ModelSpec, Probe
from xtrain.system.distribution import package_command

from xtrain_newbackend.layers import LAYERS
from xtrain_newbackend.losses import LOSSES
from xtrain_newbackend.updates import UPDATES


class NewBackendBackend(BackendBase):
    """Neither importing this module nor making the backend may import the framework."""

    name, contract = "newbackend", 1
    framework = ""  # the module whose import loads the framework, such as "torch"
    install = package_command("xtrain-newbackend")
    rank = 100
    package, prefix = "xtrain_newbackend", "NewBackend"
    tables = (LAYERS, LOSSES, UPDATES, FORMULAS)

    def environment(self, model: ModelSpec | None, threads: int | None) -> Mapping[str, str]:
        """Variables that must be set before the framework is imported; they may not depend on the device."""
        return {}

    def load(self) -> None:
        """Import the framework. Delete this method when `framework` has its name."""

    def found(self) -> Probe:
        """Version and devices; the framework is loaded."""
        return Probe("0.1.0", devices=("cpu",), notes={"precision": "float32 alone is written"})

    def open(self) -> str:
        """Load the framework, resolve the device, and return the framework's own name for it."""
        self.load()
        self.device = resolve_device(self.name, self.device, self.found().devices)
        return self.device

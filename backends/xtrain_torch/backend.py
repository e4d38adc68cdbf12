"""PyTorch on one device: what it needs and finds; `BackendBase` builds the other four parts."""

import importlib.metadata
from collections.abc import Mapping
from typing import Any

from xtrain.plugins import Lazy, resolve_device
from xtrain.spec import BackendBase, ModelSpec, Precision, Probe
from xtrain.system.distribution import install_command
from xtrain_torch.engine import TorchEngine
from xtrain_torch.layers import LAYERS
from xtrain_torch.losses import LOSSES
from xtrain_torch.updates import SHARED, UPDATES

torch: Any = Lazy("torch")


class TorchBackend(BackendBase):
    """Eager steps, in float32 or what else the device multiplies quickly."""

    name, contract = "torch", 1
    framework = "torch"
    install = install_command("torch")
    rank = 1
    package, prefix = "xtrain_torch", "Torch"
    tables = (LAYERS, LOSSES, UPDATES, SHARED)
    engine = TorchEngine()

    def environment(self, model: ModelSpec | None, threads: int | None) -> Mapping[str, str]:
        """Thread count for OpenMP; workspaces that make cuBLAS repeatable."""
        settings = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
        return settings | ({"OMP_NUM_THREADS": str(threads)} if threads else {})

    def found(self) -> Probe:
        """Version, devices, and precisions of the backend's own device."""
        version, devices = importlib.metadata.version("torch"), _devices()
        precisions, why = _precisions(self.device, devices)
        return Probe(version, devices, ("float32", *precisions), modes=("eager",), notes={"precision": why})

    def open(self) -> str:
        """Resolve the device and return torch's name for it."""
        self.device = resolve_device(self.name, self.device, _devices())
        if self._threads:
            torch.set_num_threads(self._threads)
        return self.device.replace("gpu", "cuda")


def _devices() -> tuple[str, ...]:
    return ("cpu", *(f"gpu:{i}" for i in range(torch.cuda.device_count())))


def _precisions(device: str, found: tuple[str, ...]) -> tuple[tuple[Precision, ...], str]:
    """Precisions of a device besides float32, and why it has no others."""
    index = int(device.partition(":")[2] or 0)
    if device != "cpu" and f"gpu:{index}" in found:
        if torch.cuda.get_device_capability(index) < (8, 0):
            return ("fp16",), "tf32 and bf16 came with Ampere, and this GPU is older"
        return ("tf32", "bf16", "fp16"), "this GPU has all there are"
    cpu = torch.cpu.get_capabilities()
    narrow: tuple[Precision, ...] = ("bf16",) if cpu.get("amx_bf16") or cpu.get("avx512_bf16") else ()
    lacking = "" if narrow else "this processor multiplies no bfloat16 itself; "
    return narrow, f"{lacking}tf32 is a GPU's, and fp16 on a CPU takes a hundred times as long as float32"

"""PyTorch on one device: what it needs, what it finds, and the builders of the other four parts."""

import importlib
import importlib.metadata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from xtrain.plugins import Lazy, resolve_device
from xtrain.spec import LossSpec, ModelSpec, OptimizerSpec, Precision, Probe, Split, explain
from xtrain.system.distribution import install_command
from xtrain_torch.layers import LAYERS
from xtrain_torch.losses import LOSSES
from xtrain_torch.updates import SHARED, UPDATES

if TYPE_CHECKING:
    from xtrain_torch.dataset import TorchDataset
    from xtrain_torch.loop import TorchLoop
    from xtrain_torch.model import TorchModel
    from xtrain_torch.optimizer import TorchOptimizer

torch: Any = Lazy("torch")


class TorchBackend:
    """Builds everything lazily: no method but `probe` and the builders imports torch."""

    name = "torch"
    framework = "torch"
    install = install_command("torch")
    rank = 1

    def __init__(self, device: str, threads: int | None, precision: Precision = "float32") -> None:
        self.device = device
        self._threads, self._precision = threads, precision

    def environment(self, model: ModelSpec | None, threads: int | None) -> Mapping[str, str]:
        """Thread count for OpenMP; workspaces that make cuBLAS repeatable."""
        settings = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
        return settings | ({"OMP_NUM_THREADS": str(threads)} if threads else {})

    def probe(self) -> Probe:
        """Version and devices, or why torch can't be imported."""
        try:
            importlib.import_module("torch")
        except (ImportError, OSError) as error:
            return Probe(None, problem=str(error))
        version, devices = importlib.metadata.version("torch"), _devices()
        precisions, why = _precisions(self.device, devices)
        return Probe(version, devices, ("float32", *precisions), modes=("eager",), notes={"precision": why})

    def explain(self, model: ModelSpec, loss: LossSpec, optimizer: OptimizerSpec) -> Mapping[str, str]:
        """What each key becomes in torch's own terms."""
        return explain(model, loss, optimizer, LAYERS, LOSSES, UPDATES, SHARED)

    def dataset(self, split: Split) -> "TorchDataset":
        """Batches as torch tensors on the device."""
        from xtrain_torch.dataset import TorchDataset

        return TorchDataset(split, self._open())

    def model(self, spec: ModelSpec) -> "TorchModel":
        """An nn.Module on the device."""
        from xtrain_torch.model import TorchModel

        return TorchModel(spec, self._open(), self._precision)

    def optimizer(self, spec: OptimizerSpec, model: "TorchModel") -> "TorchOptimizer":
        """torch.optim's kernels over the model's parameters."""
        from xtrain_torch.optimizer import TorchOptimizer

        return TorchOptimizer(spec, model)

    def loop(self, model: "TorchModel", loss: LossSpec, optimizer: "TorchOptimizer") -> "TorchLoop":
        """Eager steps."""
        from xtrain_torch.loop import TorchLoop

        return TorchLoop(model, loss, optimizer)

    def _open(self) -> str:
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

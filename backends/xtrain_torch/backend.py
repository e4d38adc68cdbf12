"""PyTorch on one device: what it needs, what it finds, and the builders of the other four parts."""

import importlib
import importlib.metadata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from xtrain.errors import BackendError
from xtrain.spec import LossSpec, ModelSpec, OptimizerSpec, Precision, Probe, Split
from xtrain_torch import terms

if TYPE_CHECKING:
    from xtrain_torch.dataset import TorchDataset
    from xtrain_torch.loop import TorchLoop
    from xtrain_torch.model import TorchModel
    from xtrain_torch.optimizer import TorchOptimizer


class TorchBackend:
    """Builds everything lazily: no method but `probe` and the builders imports torch."""

    name = "torch"
    framework = "torch"
    install = "pip install 'xtrain[torch]'"
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
            torch = importlib.import_module("torch")
        except (ImportError, OSError) as error:
            return Probe(None, problem=str(error))
        found = torch.cuda.device_count()
        index = int(self.device.partition(":")[2] or 0)
        on_gpu = self.device != "cpu" and index < found
        precisions, why = _of_gpu(torch, index) if on_gpu else _of_cpu(torch)
        return Probe(
            importlib.metadata.version("torch"),
            devices=("cpu", *(f"gpu:{i}" for i in range(found))),
            precisions=("float32", *precisions),
            modes=("eager",),
            notes={"precision": why},
        )

    def explain(self, model: ModelSpec, loss: LossSpec, optimizer: OptimizerSpec) -> Mapping[str, str]:
        """What each key becomes in torch's own terms."""
        return terms.explain(model, loss, optimizer)

    def dataset(self, split: Split) -> "TorchDataset":
        """Batches as torch tensors on the device."""
        from xtrain_torch.dataset import TorchDataset

        return TorchDataset(split, self._open())

    def model(self, spec: ModelSpec) -> "TorchModel":
        """An nn.Module on the device."""
        from xtrain_torch.model import TorchModel

        return TorchModel(spec, self._open(), self._precision)

    def optimizer(self, spec: OptimizerSpec, model: "TorchModel") -> "TorchOptimizer":
        """A torch.optim optimizer over the model's parameters."""
        from xtrain_torch.optimizer import TorchOptimizer

        return TorchOptimizer(spec, model)

    def loop(self, model: "TorchModel", loss: LossSpec, optimizer: "TorchOptimizer") -> "TorchLoop":
        """Eager steps."""
        from xtrain_torch.loop import TorchLoop

        return TorchLoop(model, loss, optimizer)

    def _open(self) -> str:
        """Resolve the device and return torch's name for it."""
        import torch

        if self._threads:
            torch.set_num_threads(self._threads)
        # On by default for convolutions, and not the same numbers.
        torch.backends.cudnn.allow_tf32 = self._precision == "tf32"
        torch.backends.cuda.matmul.allow_tf32 = self._precision == "tf32"
        torch.backends.cudnn.deterministic = True
        found = torch.cuda.device_count()
        kind, _, index = self.device.partition(":")
        if kind == "auto":
            kind = "gpu" if found else "cpu"
        if kind == "gpu" and int(index or 0) < found:
            self.device = f"gpu:{int(index or 0)}"
            return f"cuda:{int(index or 0)}"
        if kind != "cpu" or index:
            devices = ["cpu", *(f"gpu:{i}" for i in range(found))]
            raise BackendError(
                f"backend torch has no device {self.device!r}", remedy=f"devices here: {', '.join(devices)}"
            )
        self.device = "cpu"
        return "cpu"


def _of_cpu(torch: Any) -> tuple[tuple[Precision, ...], str]:
    """Precisions of the processor besides float32, and why no others."""
    found = torch.cpu.get_capabilities()
    narrow: tuple[Precision, ...] = ("bf16",) if found.get("amx_bf16") or found.get("avx512_bf16") else ()
    lacking = "" if narrow else "this processor multiplies no bfloat16 itself; "
    return narrow, f"{lacking}tf32 is a GPU's, and fp16 on a CPU takes a hundred times as long as float32"


def _of_gpu(torch: Any, index: int) -> tuple[tuple[Precision, ...], str]:
    """Precisions of a GPU besides float32, and why no others."""
    if torch.cuda.get_device_capability(index) < (8, 0):
        return ("fp16",), "tf32 and bf16 came with Ampere, and this GPU is older"
    return ("tf32", "bf16", "fp16"), "this GPU has all there are"

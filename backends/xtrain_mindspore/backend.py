"""MindSpore on one device: what it needs, what it finds, and the builders of the other four parts."""

import functools
import importlib
import importlib.metadata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import platformdirs

from xtrain.plugins import Lazy, resolve_device
from xtrain.spec import Conv2d, LossSpec, ModelSpec, OptimizerSpec, Probe, Split, explain
from xtrain.system.distribution import install_command
from xtrain_mindspore.layers import LAYERS
from xtrain_mindspore.losses import LOSSES
from xtrain_mindspore.threads import confine, spread
from xtrain_mindspore.updates import SHARED, UPDATES

if TYPE_CHECKING:
    from xtrain_mindspore.dataset import MindSporeDataset
    from xtrain_mindspore.loop import MindSporeLoop
    from xtrain_mindspore.model import MindSporeModel
    from xtrain_mindspore.optimizer import MindSporeOptimizer

ms: Any = Lazy("mindspore")


class MindSporeBackend:
    """Builds everything lazily: no method but `probe` and the builders imports mindspore."""

    name = "mindspore"
    framework = "mindspore"
    install = install_command("mindspore")
    rank = 3

    def __init__(self, device: str, threads: int | None) -> None:
        self.device = device
        self._threads = threads

    def environment(self, model: ModelSpec | None, threads: int | None) -> Mapping[str, str]:
        """Quiet, and no AVX-512 for convolutions: seeing it, oneDNN takes a kernel 70 times slower."""
        settings = {
            "GLOG_v": "4",  # errors come as exceptions
            "MS_OM_PATH": platformdirs.user_cache_dir("xtrain"),  # else rank_0/ lands where the user is
        }
        if model and any(isinstance(node.layer, Conv2d) for node in model.walk()):
            settings["ONEDNN_MAX_CPU_ISA"] = "AVX2"
        return settings

    def probe(self) -> Probe:
        """Version and devices, or why mindspore can't be imported."""
        try:
            importlib.import_module("mindspore")
        except (ImportError, OSError) as error:
            return Probe(None, problem=str(error))
        notes = {
            "threads": "confines the process to that many CPUs: MindSpore has no setting that works. "
            "Where its threads outnumber the CPUs each is held to one",
            "precision": "no bfloat16 on a CPU, float16 no quicker there, accelerators not tried",
        }
        return Probe(importlib.metadata.version("mindspore"), _devices(), modes=("graph",), notes=notes)

    def explain(self, model: ModelSpec, loss: LossSpec, optimizer: OptimizerSpec) -> Mapping[str, str]:
        """What each key becomes in MindSpore's own terms."""
        return explain(model, loss, optimizer, LAYERS, LOSSES, UPDATES, SHARED)

    def dataset(self, split: Split) -> "MindSporeDataset":
        """Batches as MindSpore tensors."""
        self._open()
        from xtrain_mindspore.dataset import MindSporeDataset

        return MindSporeDataset(split)

    def model(self, spec: ModelSpec) -> "MindSporeModel":
        """An nn.Cell on the device."""
        self._open()
        from xtrain_mindspore.model import MindSporeModel

        return MindSporeModel(spec)

    def optimizer(self, spec: OptimizerSpec, model: "MindSporeModel") -> "MindSporeOptimizer":
        """An update cell over the model's parameters."""
        from xtrain_mindspore.optimizer import MindSporeOptimizer

        return MindSporeOptimizer(spec, model)

    def loop(
        self, model: "MindSporeModel", loss: LossSpec, optimizer: "MindSporeOptimizer"
    ) -> "MindSporeLoop":
        """Compiled steps."""
        from xtrain_mindspore.loop import MindSporeLoop

        spread()
        return MindSporeLoop(model, loss, optimizer)

    def _open(self) -> None:
        """Resolve the device and make it MindSpore's; graphs are compiled."""
        if self._threads:
            confine(self._threads)
        self.device = resolve_device(self.name, self.device, _devices())
        kind, _, index = self.device.partition(":")
        ms.set_device(_TARGETS[kind], int(index or 0))
        ms.set_context(mode=ms.GRAPH_MODE)
        if kind == "ascend":
            _settle_ascend()


_TARGETS = {"cpu": "CPU", "gpu": "GPU", "ascend": "Ascend"}


def _devices() -> tuple[str, ...]:
    """`cpu`, and `ascend:0`, ... that this MindSpore can drive here."""
    kinds = {kind: getattr(ms.device_context, kind) for kind in ("ascend", "gpu")}
    found = {kind: each.device_count() for kind, each in kinds.items() if each.is_available()}
    return ("cpu", *(f"{kind}:{i}" for kind, count in found.items() for i in range(count)))


@functools.cache  # MindSpore takes these once
def _settle_ascend() -> None:
    """The same numbers from run to run, and float32 where convolutions have less by default."""
    ms.set_deterministic(True)
    ms.device_context.ascend.op_precision.conv_allow_hf32(False)

"""MindSpore on one device: what it needs and finds; `BackendBase` builds the other four parts."""

import functools
import importlib.metadata
from collections.abc import Mapping
from typing import Any

import platformdirs

from xtrain.plugins import Lazy, resolve_device
from xtrain.spec import BackendBase, Conv2d, ModelSpec, Probe
from xtrain.system.distribution import install_command
from xtrain_mindspore.layers import LAYERS
from xtrain_mindspore.losses import LOSSES
from xtrain_mindspore.threads import confine
from xtrain_mindspore.updates import SHARED, UPDATES

ms: Any = Lazy("mindspore")


class MindSporeBackend(BackendBase):
    """Compiled steps, in float32."""

    name, contract = "mindspore", 1
    framework = "mindspore"
    install = install_command("mindspore")
    rank = 3
    package, prefix = "xtrain_mindspore", "MindSpore"
    tables = (LAYERS, LOSSES, UPDATES, SHARED)

    def environment(self, model: ModelSpec | None, threads: int | None) -> Mapping[str, str]:
        """Quiet, and no AVX-512 for convolutions: seeing it, oneDNN takes a kernel 70 times slower."""
        settings = {
            "GLOG_v": "4",  # errors come as exceptions
            "MS_OM_PATH": platformdirs.user_cache_dir("xtrain"),  # else rank_0/ lands where the user is
        }
        if model and any(isinstance(node.layer, Conv2d) for node in model.walk()):
            settings["ONEDNN_MAX_CPU_ISA"] = "AVX2"
        return settings

    def found(self) -> Probe:
        """Version and devices."""
        notes = {
            "threads": "confines the process to that many CPUs: MindSpore has no setting that works. "
            "Where its threads outnumber the CPUs each is held to one",
            "precision": "no bfloat16 on a CPU, float16 no quicker there, accelerators not tried",
        }
        return Probe(importlib.metadata.version("mindspore"), _devices(), modes=("graph",), notes=notes)

    def open(self) -> str:
        """Resolve the device and make it MindSpore's; graphs are compiled."""
        if self._threads:
            confine(self._threads)
        self.device = resolve_device(self.name, self.device, _devices())
        kind, _, index = self.device.partition(":")
        ms.set_device(_TARGETS[kind], int(index or 0))
        ms.set_context(mode=ms.GRAPH_MODE)
        if kind == "ascend":
            _settle_ascend()
        return self.device


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

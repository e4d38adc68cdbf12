"""JAX on one device: what it needs and finds; `BackendBase` builds the other four parts."""

import os
from collections.abc import Mapping
from typing import Any

from xtrain.plugins import Lazy, resolve_device
from xtrain.spec import BackendBase, ModelSpec, Precision, Probe
from xtrain_jax.layers import LAYERS
from xtrain_jax.losses import LOSSES
from xtrain_jax.updates import SHARED, UPDATES

jax: Any = Lazy("jax")

_REPEATABLE = "--xla_gpu_deterministic_ops=true"


class JaxBackend(BackendBase):
    """Compiled steps, in float32 or bfloat16, on a GPU in TF32 as well."""

    name = "jax"
    framework = "jax"
    install = "pip install crosstrain-jax"
    rank = 100
    package, prefix = "xtrain_jax", "Jax"
    tables = (LAYERS, LOSSES, UPDATES, SHARED)

    def environment(self, model: ModelSpec | None, threads: int | None) -> Mapping[str, str]:
        """Kernels of a GPU that repeat, beside what XLA is told already; threads of the CPU."""
        told = os.environ.get("XLA_FLAGS", "").split()
        flags = told if _REPEATABLE in told else [*told, _REPEATABLE]
        return {"XLA_FLAGS": " ".join(flags)} | ({"PJRT_NPROC": str(threads)} if threads else {})

    def found(self) -> Probe:
        """Version, devices, and precisions of the backend's own device."""
        devices = _devices()
        gpu = self.device.startswith("gpu") or (self.device == "auto" and "gpu:0" in devices)
        more: tuple[Precision, ...] = ("tf32", "bf16") if gpu else ("bf16",)
        why = "fp16 needs a loss scale, which this backend has not" + ("" if gpu else "; tf32 is a GPU's")
        return Probe(jax.__version__, devices, ("float32", *more), modes=("jit",), notes={"precision": why})

    def open(self) -> str:
        """Resolve the device; ours and JAX's names are the same."""
        self.device = resolve_device(self.name, self.device, _devices())
        return self.device


def _devices() -> tuple[str, ...]:
    """The CPU, and what `jax.devices` has besides: `gpu:0`, `tpu:0`."""
    more = [device for device in jax.devices() if device.platform != "cpu"]
    return ("cpu", *(f"{device.platform}:{index}" for index, device in enumerate(more)))

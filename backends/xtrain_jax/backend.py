"""JAX on one device: what it needs and finds; `BackendBase` builds the other four parts."""

import os
from collections.abc import Mapping
from typing import Any

from xtrain.plugins import Lazy, resolve_device
from xtrain.spec import FORMULAS, BackendBase, ModelSpec, Probe
from xtrain.system.distribution import install_command
from xtrain_jax.layers import LAYERS
from xtrain_jax.losses import LOSSES
from xtrain_jax.updates import UPDATES

jax: Any = Lazy("jax")

_REPEATABLE = "--xla_gpu_deterministic_ops=true"


class JaxBackend(BackendBase):
    """Compiled steps, in float32 or bfloat16, on a GPU in TF32 as well."""

    name, framework, contract, rank = "jax", "jax", 1, 100
    install = install_command("jax")
    package, prefix = "xtrain_jax", "Jax"
    tables = (LAYERS, LOSSES, UPDATES, FORMULAS)

    def environment(self, model: ModelSpec | None, threads: int | None) -> Mapping[str, str]:
        """Kernels of a GPU that repeat, beside what XLA is told already; threads of the CPU."""
        told = os.environ.get("XLA_FLAGS", "")
        flags = told if _REPEATABLE in told else f"{told} {_REPEATABLE}".strip()
        return {"XLA_FLAGS": flags} | ({"PJRT_NPROC": str(threads)} if threads else {})

    def found(self) -> Probe:
        """Version, devices, and precisions of the backend's own device."""
        devices = _devices()
        gpu = self.device.startswith("gpu") or (self.device == "auto" and "gpu:0" in devices)
        precisions = ("float32", "tf32", "bf16") if gpu else ("float32", "bf16")
        notes = {"precision": "fp16 needs a loss scale, which this backend has not; tf32 is a GPU's"}
        newer = jax.__version_info__ >= (0, 10)  # 0.7 makes a CPU wait where memory is donated
        return Probe(jax.__version__, devices, precisions, ("jit",), notes=notes, asynchronous=newer)

    def open(self) -> Any:
        """Resolve the device, and return JAX's own object for it."""
        self.device = resolve_device(self.name, self.device, _devices())
        kind, _, index = self.device.partition(":")
        return jax.devices(kind)[int(index or 0)]


def _devices() -> tuple[str, ...]:
    """The CPU, and what `jax.devices` has besides: `gpu:0`, `tpu:0`."""
    more = [device for device in jax.devices() if device.platform != "cpu"]
    return ("cpu", *(f"{device.platform}:{index}" for index, device in enumerate(more)))

"""PaddlePaddle on one device: what it needs and finds; `BackendBase` builds the other four parts."""

import contextlib
import importlib
import io
import sys
import warnings
from collections.abc import Mapping
from statistics import mean
from typing import Any

from xtrain.plugins import resolve_device
from xtrain.spec import BackendBase, Conv2d, ModelSpec, Probe
from xtrain.system.distribution import install_command
from xtrain.system.machine import usable_cores
from xtrain_paddle.layers import LAYERS
from xtrain_paddle.losses import LOSSES
from xtrain_paddle.updates import SHARED, UPDATES

_MOST_THREADS = 8  # products of a batch's size are too small for more, which only wait for each other
_LEAST_WORK = 2_000_000  # multiply-adds of an image's product, of each thread


class PaddleBackend(BackendBase):
    """Eager steps, in float32."""

    name, contract = "paddle", 1
    framework = "paddle"
    install = install_command("paddle")
    rank = 2
    package, prefix = "xtrain_paddle", "Paddle"
    tables = (LAYERS, LOSSES, UPDATES, SHARED)

    def environment(self, model: ModelSpec | None, threads: int | None) -> Mapping[str, str]:
        """Thread count for OpenMP; log lines off; GPU kernels that repeat."""
        return {
            "OMP_NUM_THREADS": str(threads or _threads(model)),
            "GLOG_minloglevel": "2",
            "FLAGS_cudnn_deterministic": "1",
            "NVIDIA_TF32_OVERRIDE": "0",  # its products are not the same numbers
        }

    def load(self) -> None:
        """Import paddle without its remarks."""
        _import()

    def found(self) -> Probe:
        """Version and devices."""
        why = "its kernels for CPUs have float32 alone, and no GPU was tried"
        return Probe(_import().__version__, _devices(), modes=("eager",), notes={"precision": why})

    def open(self) -> str:
        """Resolve the device and return Paddle's name for it."""
        paddle = _import()
        self.device = resolve_device(self.name, self.device, _devices())
        if self._threads:
            paddle.base.core.set_num_threads(self._threads)
        paddle.disable_signal_handler()  # it prints a trace of C++ where a run is told to stop
        paddle.set_device(self.device)
        return self.device


def _devices() -> tuple[str, ...]:
    return ("cpu", *(f"gpu:{i}" for i in range(_import().device.cuda.device_count())))


def _import() -> Any:
    """Import paddle without its remarks about ccache and OMP_NUM_THREADS."""
    said = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(said):
            warnings.filterwarnings("ignore", message="No ccache found")
            return importlib.import_module("paddle")
    finally:
        lines = [line for line in said.getvalue().splitlines(keepends=True) if "OMP_NUM_THREADS" not in line]
        sys.stderr.write("".join(lines))


def _threads(model: ModelSpec | None) -> int:
    """OpenMP's threads where none are asked for; Paddle's own choice is 1.

    Matrix products gain by them (on two cores a step of mnist_mlp takes 2.3 ms instead of 2.6). Convolutions
    are one product for each image, and where that is small threads wait for each other longer than they
    save: cifar10_lenet takes 8.6 ms on one and 12.9 on two (0.3 million multiply-adds), cifar10_simplecnn 31
    and 31 (2 million), cifar10_resnet 720 and 640 (10 million).
    """
    nodes = model.walk() if model else ()
    products = [node.multiply_adds for node in nodes if isinstance(node.layer, Conv2d)]
    most = max(1, int(mean(products) // _LEAST_WORK)) if products else _MOST_THREADS
    return min(usable_cores(), most, _MOST_THREADS)

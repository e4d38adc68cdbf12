"""MindSpore on one device: what it needs, what it finds, and the builders of the other four parts."""

import contextlib
import functools
import importlib
import importlib.metadata
import itertools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from xtrain.errors import BackendError
from xtrain.spec import Conv2d, LossSpec, ModelSpec, OptimizerSpec, Probe, Split
from xtrain_mindspore import terms

if TYPE_CHECKING:
    from xtrain_mindspore.dataset import MindSporeDataset
    from xtrain_mindspore.loop import MindSporeLoop
    from xtrain_mindspore.model import MindSporeModel
    from xtrain_mindspore.optimizer import MindSporeOptimizer


class MindSporeBackend:
    """Builds everything lazily: no method but `probe` and the builders imports mindspore."""

    name = "mindspore"
    framework = "mindspore"
    install = "pip install 'xtrain[mindspore]'"
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
        return Probe(
            importlib.metadata.version("mindspore"),
            devices=("cpu", *_accelerators()),
            modes=("graph",),
            notes={
                "threads": "confines the process to that many CPUs: MindSpore has no setting that works. "
                "Where its threads outnumber the CPUs each is held to one",
                "precision": "no bfloat16 on a CPU, float16 no quicker there, accelerators not tried",
            },
        )

    def explain(self, model: ModelSpec, loss: LossSpec, optimizer: OptimizerSpec) -> Mapping[str, str]:
        """What each key becomes in MindSpore's own terms."""
        return terms.explain(model, loss, optimizer)

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

        _spread()
        return MindSporeLoop(model, loss, optimizer)

    def _open(self) -> None:
        """Resolve the device and make it MindSpore's; graphs are compiled."""
        if self._threads:
            _confine(self._threads)
        import mindspore as ms

        found = (*_accelerators(), "cpu")
        name = found[0] if self.device == "auto" else self.device
        if ":" not in name and name != "cpu":
            name += ":0"
        if name not in found:
            raise BackendError(
                f"backend mindspore has no device {self.device!r}",
                remedy=f"devices here: {', '.join(found)} (recent MindSpore drives no NVIDIA GPU)",
            )
        kind, _, index = name.partition(":")
        ms.set_device(_TARGETS[kind], int(index or 0))
        ms.set_context(mode=ms.GRAPH_MODE)
        if kind == "ascend":
            _settle_ascend()
        self.device = name


_TARGETS = {"cpu": "CPU", "gpu": "GPU", "ascend": "Ascend"}


def _accelerators() -> tuple[str, ...]:
    """`ascend:0`, ... that this MindSpore can drive here."""
    contexts = importlib.import_module("mindspore.device_context")
    return tuple(
        f"{kind}:{i}"
        for kind in ("ascend", "gpu")
        if getattr(contexts, kind).is_available()
        for i in range(getattr(contexts, kind).device_count())
    )


@functools.cache  # MindSpore takes these once
def _settle_ascend() -> None:
    """The same numbers from run to run, and float32 where convolutions have less by default."""
    import mindspore as ms

    ms.set_deterministic(True)
    ms.device_context.ascend.op_precision.conv_allow_hf32(False)


def _confine(threads: int) -> None:
    """Let the process use as many CPUs, for good.

    MindSpore divides its work by the CPUs it may use. OMP_NUM_THREADS and its own threads_num change
    neither that nor the load.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise BackendError(
            "backend mindspore can limit its threads on Linux alone", remedy="leave threads out"
        )
    os.sched_setaffinity(0, _cpus()[:threads])


def _spread() -> None:
    """Hold each of MindSpore's threads to a CPU, where with the caller's they outnumber the CPUs.

    Linux puts the one that hands out work and the one that shares it on the same CPU, the caller waiting
    busily on the other: on two, a step of cifar10_simplecnn takes 57 ms instead of 35, of mnist_mlp 5.4
    instead of 3.3. They start with MindSpore's first operation, such as taking over weights.
    """
    tasks = Path("/proc/self/task")  # Linux alone
    cpus = _cpus() if tasks.is_dir() else []
    workers = sorted((name, thread) for name, thread in _threads(tasks) if name.startswith(_WORKERS))
    if 1 < len(cpus) <= len(workers):
        for (_, thread), cpu in zip(workers, itertools.cycle(cpus)):
            os.sched_setaffinity(thread, {cpu})


_WORKERS = ("ActorThread", "KernelThread")


def _cpus() -> list[int]:
    """CPUs this process may use, beginning with another one in each: several should not meet on the first."""
    allowed = sorted(os.sched_getaffinity(0))
    first = os.getpid() % len(allowed)
    return allowed[first:] + allowed[:first]


def _threads(tasks: Path) -> Iterator[tuple[str, int]]:
    """Names and numbers of this process's threads."""
    for task in tasks.glob("*"):
        with contextlib.suppress(OSError):  # it has just ended
            yield (task / "comm").read_text(), int(task.name)

"""torch.distributed: how its processes are started, found, joined and summed over."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from xtrain.errors import XtrainError
from xtrain.plugins import Lazy
from xtrain.spec import Place

if TYPE_CHECKING:
    import torch
    import torch.distributed as dist
    from torch import Tensor
else:
    torch, dist = Lazy("torch"), Lazy("torch.distributed")


class TorchEngine:
    """gloo on CPUs, NCCL on GPUs; torchrun starts the processes."""

    name = "torch.distributed"

    def launcher(self, processes: int, port: int, logs: Path) -> Sequence[str]:
        """torchrun by the name of its module."""
        count, port_given = f"--nproc-per-node={processes}", f"--master-port={port}"
        return ("-m", "torch.distributed.run", count, "--master-addr=127.0.0.1", port_given)

    def environment(self) -> Mapping[str, str]:
        """Nothing."""
        return {}

    def place(self, environment: Mapping[str, str]) -> Place | None:
        """As torchrun says it."""
        try:
            rank, size, local = (int(environment[key]) for key in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
        except (KeyError, ValueError):
            return None
        return Place(rank, size, local, environment.get("MASTER_ADDR", "127.0.0.1"))

    def join(self, device: str, place: Place, deadline: float, exact: bool) -> "TorchGroup":
        """Meet the others where the environment says."""
        kind = "gloo" if device == "cpu" else "nccl"
        dist.init_process_group(
            kind, rank=place.rank, world_size=place.size, timeout=timedelta(seconds=deadline)
        )
        return TorchGroup(device, place, exact)


class TorchGroup:
    """The processes, joined."""

    def __init__(self, device: str, place: Place, exact: bool) -> None:
        self.place, self._device, self._exact = place, device, exact

    def sum(self, arrays: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """The sum of each array over all processes."""
        tensors = [torch.tensor(array, device=self._device) for array in arrays]
        self.add(tensors)
        return [tensor.cpu().numpy() for tensor in tensors]

    def add(self, tensors: Sequence["Tensor"]) -> None:
        """Let each tensor become its sum over all processes: one transfer for all of them."""
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        if self._exact:
            flat = self._in_order(flat)
        else:
            with _told():
                dist.all_reduce(flat)
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view(tensor.shape))

    def every(self, tensor: "Tensor") -> "Tensor":
        """What each process has, one after the other [processes, ...]."""
        found = [torch.empty_like(tensor) for _ in range(self.place.size)]
        with _told():
            dist.all_gather(found, tensor)
        return torch.stack(found)

    def _in_order(self, own: "Tensor") -> "Tensor":
        first, *others = self.every(own).unbind()
        for other in others:
            first = first + other
        return first


@contextmanager
def _told() -> Iterator[None]:
    """What breaks a sum is the others' doing: they have ended, or do not answer."""
    try:
        yield
    except RuntimeError as error:
        problem = f"torch.distributed: another process did not do its part in a sum: {error}"
        raise XtrainError(problem, remedy="--deadline says how long one waits for the others") from error

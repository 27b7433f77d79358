"""Several processes that train one model: `torchrun --nproc-per-node 2 -m equic train spec.yaml`.

Every process computes its share of each batch, and gradients are summed over all of them. Since each share is
divided by the number of components in the whole batch, N processes take the steps of one process with the
same batch, up to the order of sums.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among `size` of them; alone, every method does nothing."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes files and speaks."""
        return self.rank == 0

    def share(self, samples: Any) -> Any:
        """The part of a batch that this process computes."""
        return samples[self.rank :: self.size]

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Sum every tensor over all processes, in place, in one message per type."""
        if self.size == 1:
            return
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            group = [tensor for tensor in tensors if tensor.dtype == dtype]
            flat = torch.cat([tensor.detach().reshape(-1) for tensor in group])
            dist.all_reduce(flat)
            with torch.no_grad():
                for tensor, part in zip(group, flat.split([t.numel() for t in group]), strict=True):
                    tensor.copy_(part.view_as(tensor))

    def union(self, names: Sequence[T]) -> list[T]:
        """The names that any process has, in one order for all."""
        gathered: list[Any] = [None] * self.size
        dist.all_gather_object(gathered, list(names))
        return list(dict.fromkeys(name for part in gathered for name in part))

    def first(self, work: Callable[[], T]) -> T:
        """Do `work` in the leading process alone, and give its result to all."""
        if self.size == 1:
            return work()
        box: list[Any] = [None, None]
        if self.leads:
            try:
                box[0] = work()
            except Exception as error:  # the others would wait for ever
                box[1] = error
        dist.broadcast_object_list(box)
        if box[1] is not None:
            raise box[1]
        return box[0]


ALONE = Ranks()


def ranks() -> Ranks:
    """The processes that torch.distributed knows of."""
    if dist.is_available() and dist.is_initialized():
        return Ranks(dist.get_rank(), dist.get_world_size())
    return ALONE


@contextmanager
def joined() -> Iterator[Ranks]:
    """Inside, the processes that torchrun started know each other; by itself a process is alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield ranks()
        return
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield ranks()
    finally:
        dist.destroy_process_group()

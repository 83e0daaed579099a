"""The processes that train together, and what they tell each other."""

import os
from dataclasses import dataclass

import torch
from torch import Tensor, distributed
from torch.distributed import PrefixStore  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous


@dataclass(frozen=True)
class Group:
    """A group of training processes; alone, every method is the identity.

    Attributes:
        rank: this process, counted from 0 over all machines.
        size: processes in all.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files and shows the progress."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum over all processes, without a gradient."""
        tensor = tensor.detach()
        if self.size > 1:
            tensor = tensor.clone()
            distributed.all_reduce(tensor)
        return tensor

    def largest(self, value: int, device: torch.device) -> int:
        """Return the largest of the processes' values."""
        if self.size == 1:
            return value
        tensor = torch.tensor(value, device=device)
        distributed.all_reduce(tensor, op=distributed.ReduceOp.MAX)
        return int(tensor)

    def agree(self, value: int, device: torch.device) -> bool:
        """Tell whether all processes have the same value."""
        return self.largest(value, device) == -self.largest(-value, device)

    def barrier(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            distributed.barrier()


ALONE = Group()


def join_group(device: torch.device) -> Group:
    """Join the group that the launcher's environment variables describe (torch elastic's)."""
    store, rank, size = next(rendezvous("env://"))
    # The launcher's store outlives a restart: without a name of its own, an attempt would find the
    # addresses of the processes before it.
    attempt = f"attempt_{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
    distributed.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        store=PrefixStore(attempt, store),
        rank=rank,
        world_size=size,
        # else torch guesses it from the rank for the first barrier
        device_id=device if device.type == "cuda" else None,
    )
    return Group(distributed.get_rank(), distributed.get_world_size())


def local_rank() -> int:
    """Return the number of this process on its machine, which is the number of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))

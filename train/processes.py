"""One run on several processes, started by ``torchrun``: each takes its part of every batch.

All processes draw the same random numbers in the same order, so that the batches are those of a
run on one process; only the work on them is shared.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.distributed as dist
from timm.layers import convert_sync_batchnorm
from torch import nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True, slots=True)
class Processes:
    """Which one of how many processes this is.

    Attributes:
        rank: from 0; the first one alone writes files, prints and validates.
        count: of processes.
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def part(self, size: int) -> slice:
        """Return the rows of a batch of ``size`` that are this process's."""
        return slice(size * self.rank // self.count, size * (self.rank + 1) // self.count)

    def share(self, network: nn.Module, device: torch.device) -> nn.Module:
        """Return what to call in training so that all processes learn from all parts."""
        if self.count == 1:
            return network
        return DistributedDataParallel(network, [device] if device.type == "cuda" else None)

    def mean(self, value: float) -> float:
        """Return the mean of a number over the processes."""
        values: list[float] = [0.0] * self.count
        if self.count == 1:
            return value
        dist.all_gather_object(values, value)
        return sum(values) / self.count

    def agree(self, choice: bool) -> bool:
        """Return the first process's choice; the others wait for it."""
        if self.count == 1:
            return choice
        choices = [choice]
        dist.broadcast_object_list(choices, src=0)
        return choices[0]

    @contextlib.contextmanager
    def own_randomness(self, seed: int, device: torch.device) -> Iterator[None]:
        """Draw numbers of this process's own inside, and leave the common ones as they were.

        Dropout takes as many numbers as a process has faces; without this, processes with
        parts of unequal size would change the next batch in different ways.
        """
        if self.count == 1:
            yield
            return
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(seed * self.count + self.rank)
            yield


ONE = Processes()
"""A run on one process."""


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[tuple[Processes, torch.device]]:
    """Join the other processes if ``torchrun`` started this one.

    Yields:
        Which process this is, and the device it trains on: one GPU each.

    Raises:
        ValueError: there are fewer GPUs than processes on this machine.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes(), device
        return
    if device.type == "cuda":
        local = int(os.environ["LOCAL_RANK"])
        if local >= torch.cuda.device_count():
            raise ValueError(
                f"process {local} has no GPU: there are {torch.cuda.device_count()}; "
                "start fewer processes, or add --device cpu"
            )
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(dist.get_rank(), dist.get_world_size()), device
    finally:
        dist.destroy_process_group()


def synchronised(network: nn.Module, processes: Processes, device: torch.device) -> nn.Module:
    """Let batch norms see all processes' parts of a batch, where torch can: on GPUs."""
    if processes.count == 1 or device.type != "cuda":
        return network
    converted: nn.Module = convert_sync_batchnorm(network)
    return converted

"""Which devices a run has, and how its processes find each other; accelerate does the work."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch

from sightline.errors import InvalidArgument, RankLost
from sightline.models.config_checks import check_sizes
from sightline.recipes.training.recipe import Settings

__all__ = ["Part", "accelerator", "context_group", "gathered", "part", "processes"]

_PARALLEL = ("ddp", "fsdp")


@dataclass(frozen=True)
class Part:
    """What one process does of each step.

    Processes that share a sequence stand side by side: they are one data rank.

    Attributes:
        process: this one's number.
        processes: how many there are.
        context_ranks: how many share one sequence.
        micro_batches: batches of a step.

    >>> [Part(rank, 2, 1, 3).taken() for rank in range(2)]
    [[(0, 0.6666666666666666), (2, 0.6666666666666666)], [(1, 0.6666666666666666), (0, 0.0)]]
    """

    process: int = 0
    processes: int = 1
    context_ranks: int = 1
    micro_batches: int = 1

    @property
    def data_ranks(self) -> int:
        """How many share out the batches of a step."""
        return self.processes // self.context_ranks

    @property
    def data_rank(self) -> int:
        """This process's place among them."""
        return self.process // self.context_ranks

    def taken(self) -> list[tuple[int, float]]:
        """Return (micro-batch, weight of its loss): the mean over processes is that of the step.

        All take equally many, for they wait for each other in each; what is left over is filled up
        with batches of no weight.
        """
        rounds = -(-self.micro_batches // self.data_ranks)
        numbers = (each * self.data_ranks + self.data_rank for each in range(rounds))
        weight = self.data_ranks / self.micro_batches
        return [
            (number % self.micro_batches, weight if number < self.micro_batches else 0.0)
            for number in numbers
        ]

    def in_order(self, values: torch.Tensor) -> torch.Tensor:
        """Return one value a micro-batch, in float64, from those of all processes in a row."""
        each = values.cpu().double().reshape(self.data_ranks, self.context_ranks, -1).mean(1)
        return each.T.flatten()[: self.micro_batches]


def part(state: Any, settings: Settings) -> Part:
    """Return this process's part of a run; ``micro_batches=0`` is one for each data rank.

    Args:
        state: accelerate's, of the processes.
        settings: of the run.

    Raises:
        InvalidArgument: so many processes cannot share the work out.
    """
    if settings.parallel not in _PARALLEL:
        known = " or ".join(_PARALLEL)
        raise InvalidArgument(f"got parallel={settings.parallel!r}; wanted {known}.")
    check_sizes(settings, "micro_batches", least=0)
    check_sizes(settings, "context_ranks")
    count, context = state.num_processes, settings.context_ranks
    if count % context:
        raise InvalidArgument(
            f"got context_ranks={context} for {_processes(count)}; wanted a number that divides "
            f"them; start a multiple of {context}, such as torchrun --nproc-per-node {context} "
            "-m sightline train."
        )
    wanted = settings.micro_batches or count // context
    if wanted < count // context:
        most = wanted * context
        raise InvalidArgument(
            f"got {_processes(count)} for steps of micro_batches={wanted}, shared by {context} "
            f"each; wanted at most {most}, or some would have nothing to do; start with "
            f"--nproc-per-node {most}, or a run of larger steps with --set micro_batches=N."
        )
    return Part(state.process_index, count, context, wanted)


def processes(timeout: float = 1800) -> Any:
    """Return accelerate's state of this run's processes: one, or those that a launcher started.

    ``torchrun`` and ``accelerate launch`` start several: one an accelerator, or as many as asked
    for on a CPU. ``timeout`` is how many seconds one waits for another.

    Raises:
        InvalidArgument: a timeout of no time at all.
        RankLost: they do not find each other in time.
    """
    from accelerate import PartialState

    if not timeout > 0:
        raise InvalidArgument(f"got timeout={timeout}; wanted a number of seconds above 0.")
    try:
        return PartialState(cpu=_on_cpu(), timeout=timedelta(seconds=timeout))
    except torch.distributed.DistError as error:
        raise RankLost(
            f"the processes of this run did not find each other in {timeout:g} s "
            f"({str(error).splitlines()[0]}); see that all of them start, and reach the address "
            "that torchrun was given, or wait longer with --set timeout=SECONDS.",
            ranks=(),
        ) from error


def accelerator(*, all_weights: bool = False) -> Any:
    """Return accelerate's accelerator, which places models and adds up gradients.

    Args:
        all_weights: whether every loss uses every weight, so that none need be looked for that
            does not; torch warns on every process where it looked in vain.
    """
    from accelerate import Accelerator
    from accelerate.utils import DistributedDataParallelKwargs

    joining = DistributedDataParallelKwargs(find_unused_parameters=not all_weights)
    return Accelerator(cpu=_on_cpu(), kwargs_handlers=[joining])


def context_group(part: Part, device: torch.device) -> Any:
    """Return torch's process group of those that share this process's sequences."""
    from torch.distributed.device_mesh import init_device_mesh

    shape = part.data_ranks, part.context_ranks
    mesh = init_device_mesh(device.type, shape, mesh_dim_names=("data", "context"))
    return mesh["context"].get_group()


def gathered(own: Any, count: int) -> list[Any]:
    """Return what each of ``count`` processes has; every one must ask."""
    if count == 1:
        return [own]
    everyone: list[Any] = [None] * count
    torch.distributed.all_gather_object(everyone, own)
    return everyone


def _processes(count: int) -> str:
    return "1 process" if count == 1 else f"{count} processes"


def _on_cpu() -> bool:
    """Whether to stay on the CPU; accelerate joins processes on CPUs only if told so."""
    wished = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
    return wished or not torch.accelerator.is_available()

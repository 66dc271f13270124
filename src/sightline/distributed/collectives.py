"""What all ranks do together, once they have agreed that all of them do it.

torch.distributed moves the data. Here the ranks compare beforehand what they are about to move, and
wait no longer than the timeout, or until one of them is known to be missing.
"""

from __future__ import annotations

import torch
import torch.distributed as dist

from sightline.distributed.agreement import agree
from sightline.distributed.failures import finish, watched
from sightline.distributed.ranks import Ranks

__all__ = ["Flight", "all_gather", "all_sum", "all_to_all"]


def all_sum(tensor: torch.Tensor, ranks: Ranks, what: str) -> torch.Tensor:
    """Replace a tensor by its sum over the ranks, and return it.

    Args:
        tensor: of the same shape and dtype on every rank.
        ranks: who takes part; every one must call this.
        what: what it is for, in messages.

    Raises:
        RanksDisagree: ranks that do something else, or have another shape or dtype.
        RankLost: a rank died, stopped with an error, or does not come in time.
    """
    _agree(tensor, ranks, what)
    with watched(ranks, what):
        work = dist.all_reduce(tensor, group=ranks.group, async_op=True)
    finish(work, ranks, what, on_cpu=_on_cpu(tensor))
    return tensor


def all_gather(tensor: torch.Tensor, ranks: Ranks, what: str) -> list[torch.Tensor]:
    """Return the tensors of all ranks, in their order; arguments and errors as for ``all_sum``."""
    _agree(tensor, ranks, what)
    every = [torch.empty_like(tensor) for _ in range(ranks.size)]
    with watched(ranks, what):
        work = dist.all_gather(every, tensor.contiguous(), group=ranks.group, async_op=True)
    finish(work, ranks, what, on_cpu=_on_cpu(tensor))
    return every


def all_to_all(
    rows: torch.Tensor, sends: list[int], receives: list[int], ranks: Ranks, what: str
) -> torch.Tensor:
    """Send ``sends[r]`` of the rows to each rank r, in order; return those received, likewise.

    Arguments and errors as for ``all_sum``; of the shape, all but the first size must be the same.
    """
    _agree(rows[:0], ranks, what)
    return Flight(rows, sends, receives, ranks, what).land()


class Flight:
    """Rows that are being sent to other ranks, and those that come back for them.

    The ranks have agreed on it already: nothing is compared here.
    """

    def __init__(
        self, rows: torch.Tensor, sends: list[int], receives: list[int], ranks: Ranks, what: str
    ) -> None:
        self._ranks, self._what = ranks, what
        self._sent = rows.contiguous()  # held: it is read until all has arrived
        self.rows = rows.new_empty(sum(receives), *rows.shape[1:])
        with watched(ranks, what):
            self._work = dist.all_to_all_single(
                self.rows, self._sent, receives, sends, group=ranks.group, async_op=True
            )

    def land(self) -> torch.Tensor:
        """Wait, and return the rows received, those of rank 0 first."""
        finish(self._work, self._ranks, self._what, on_cpu=_on_cpu(self.rows))
        return self.rows


def _agree(tensor: torch.Tensor, ranks: Ranks, what: str) -> None:
    agree(ranks, what, {"shape": tuple(tensor.shape), "dtype": str(tensor.dtype)})


def _on_cpu(tensor: torch.Tensor) -> bool:
    return tensor.device.type == "cpu"

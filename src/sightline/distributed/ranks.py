"""The processes that share a sequence: a process group of torch, or a dimension of a mesh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sightline.errors import InvalidArgument
from sightline.lower.arguments import require_torch

torch = require_torch("sl.distributed")

import torch.distributed as dist  # noqa: E402
from torch.distributed.device_mesh import DeviceMesh  # noqa: E402

if TYPE_CHECKING:
    from sightline.distributed.roll_call import RollCall

__all__ = ["Ranks"]


@dataclass(frozen=True, eq=False)
class Ranks:
    """The ranks among which a sequence is dealt out.

    Attributes:
        group: torch's process group.
        rank: this process's place in it.
        size: how many there are.
        names: the global rank of each, for errors.
        roll_call: by which they find out who is missing; None for a rank alone.
    """

    group: Any
    rank: int
    size: int
    names: tuple[int, ...]
    roll_call: RollCall | None = None

    @classmethod
    def of(cls, where: Any = None, *, timeout: float | None = None) -> Ranks:
        """Return the ranks of a process group, a 1-D ``DeviceMesh``, or (None) of all processes.

        All ranks of a group must call this together the first time: they then make a group of
        their own (gloo, on the CPU) in which they agree on each call before it moves data.

        Args:
            where: a process group, a mesh, or None.
            timeout: seconds after which a rank that does not come is given up; None for the
                environment variable ``SIGHTLINE_RANKS_TIMEOUT``, else 300, or the group's own
                where that is shorter.

        Raises:
            InvalidArgument: torch.distributed is not initialised, or something else was given.
            RankLost: a rank does not come.
        """
        from sightline.distributed.roll_call import roll_call

        if not dist.is_available() or not dist.is_initialized():
            raise InvalidArgument(
                "got a process that belongs to no group; wanted torch.distributed initialised; "
                "start with torchrun and call torch.distributed.init_process_group()."
            )
        if where is None:
            where = dist.group.WORLD
        elif isinstance(where, DeviceMesh):
            where = where.get_group()
        if not isinstance(where, dist.ProcessGroup):
            raise InvalidArgument(
                f"got {type(where).__name__} for the ranks; wanted a process group or a DeviceMesh."
            )
        names = tuple(dist.get_process_group_ranks(where))
        made = roll_call(where, names, timeout) if len(names) > 1 else None
        return cls(where, dist.get_rank(where), dist.get_world_size(where), names, made)

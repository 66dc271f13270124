"""Which keys travel from where to where, as indices: worked out once for a mask and a batch size.

Tokens of a batch are numbered ``batch row * tokens a rank holds + place``. exchange.py moves them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from sightline.distributed.layout import table_of
from sightline.plan.shard import Shard

__all__ = ["Route", "route"]


@dataclass(frozen=True, eq=False)
class Route:
    """What one rank sends and receives.

    Attributes:
        send: int64 [sent], this rank's tokens in the order in which they are sent.
        sends: how many go to each rank.
        receives: how many come from each rank.
        place: int64 [batch, kv_len], where the keys that this rank needs are found, in the order
            of their positions: among its own tokens and, behind those, what it received; -1 none.
        positions: int64 [1|batch, kv_len], their absolute positions, -1 for none.
    """

    send: torch.Tensor
    sends: list[int]
    receives: list[int]
    place: torch.Tensor
    positions: np.ndarray


def route(cut: Shard, rank: int, batch: int) -> Route:
    """Return what a rank sends and receives for ``batch`` batch rows."""
    rows = np.arange(batch) if cut.batch > 1 else np.zeros(batch, dtype=np.int64)
    sizes, owner = cut.keys.sizes, np.broadcast_to(cut.keys.owner, (cut.batch, cut.plan.kv_blocks))
    held = int(cut.keys.lengths[rank])
    mine = np.broadcast_to(table_of(cut.keys, rank), (cut.batch, cut.plan.kv_len))
    of_token = np.repeat(owner, sizes, axis=1)
    send, sends = [], []
    for other in range(cut.ranks):
        wanted = np.repeat(cut.needs(other), sizes, axis=1) & (of_token == rank)
        if other == rank:
            wanted[:] = False
        index = [b * held + mine[row][wanted[row]] for b, row in enumerate(rows)]
        send.append(np.concatenate(index))
        sends.append(len(send[-1]))
    needed = np.repeat(cut.needs(rank), sizes, axis=1)
    place = np.full((batch, cut.plan.kv_len), -1, dtype=np.int64)
    receives, count = [], batch * held
    for other in range(cut.ranks):
        there = needed & (of_token == other)
        before = count
        for b, row in enumerate(rows):
            many = int(there[row].sum())
            if other == rank:
                place[b, there[row]] = b * held + mine[row][there[row]]
            else:
                place[b, there[row]] = count + np.arange(many)
                count += many
        receives.append(count - before)
    width = int(needed.sum(axis=1).max(initial=0))
    positions = np.full((cut.batch, width), -1, dtype=np.int64)
    packed = np.full((batch, width), -1, dtype=np.int64)
    first = cut.keys.edges[0]
    for row in range(cut.batch):
        seen = np.flatnonzero(needed[row])
        positions[row, : len(seen)] = seen + first
    for b, row in enumerate(rows):
        seen = np.flatnonzero(needed[row])
        packed[b, : len(seen)] = place[b, seen]
    sent = torch.from_numpy(np.concatenate(send))
    return Route(sent, sends, receives, torch.from_numpy(packed), positions)

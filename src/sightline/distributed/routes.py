"""Which keys travel from where to where, as indices: worked out once for a mask and a batch size.

A token is a batch row and a place among the tokens that a rank holds of it. exchange.py moves them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.plan.shard import Assignment, Shard

    Ints = NDArray[np.int64]

__all__ = ["Order", "Route", "route", "table_of"]


@dataclass(frozen=True, eq=False)
class Order:
    """How tokens that lie in some order are put in the order of their positions.

    Attributes:
        place: int64 [batch, kv_len], where each is found; -1 for none, which no query sees.
        back: int64 [tokens], the place of each in the result, flattened; -1 where it has none.
        positions: int64 [1|batch, kv_len], the absolute positions, rising; -1 for none.
        partly: whether there is a -1 in ``back``.
    """

    place: torch.Tensor
    back: torch.Tensor
    positions: np.ndarray
    partly: bool

    @classmethod
    def of(cls, rows: list[Ints], positions: list[Ints], tokens: int, apart: int) -> Order:
        """Return the order of ``rows[b]``, places among ``tokens``, at ``positions[b]``.

        Args:
            rows: where the tokens of each batch row are found, in the order of their positions.
            positions: their positions.
            tokens: how many there are to choose from.
            apart: how many batch rows have positions of their own, 1 or all.
        """
        width = max((len(row) for row in rows), default=0)
        place = np.full((len(rows), width), -1, dtype=np.int64)
        table = np.full((apart, width), -1, dtype=np.int64)
        back = np.full(tokens, -1, dtype=np.int64)
        for b, row in enumerate(rows):
            place[b, : len(row)] = row
            back[row] = b * width + np.arange(len(row))
        for b in range(apart if rows else 0):
            table[b, : len(positions[b])] = positions[b]
        partly = bool((back < 0).any())
        return cls(torch.from_numpy(place), torch.from_numpy(back), table, partly)

    def to(self, device: torch.device) -> Order:
        """Return the same with its tensors on a device."""
        place, back = self.place.to(device), self.back.to(device)
        return Order(place, back, self.positions, self.partly)


@dataclass(frozen=True, eq=False)
class Route:
    """What one rank sends and receives.

    Attributes:
        row: int64 [sent], the batch rows of this rank's tokens in the order in which they are sent.
        place: int64 [sent], their places among the tokens of that row.
        sends: how many go to each rank.
        receives: how many come from each rank.
        others: the order of what is received.
        every: the order of this rank's tokens (batch row after batch row) and, behind those, of
            what is received; what this rank's queries do not see is left out.
        idle: whether no rank sends anything.
    """

    row: torch.Tensor
    place: torch.Tensor
    sends: list[int]
    receives: list[int]
    others: Order
    every: Order
    idle: bool

    def to(self, device: torch.device) -> Route:
        """Return the same with its tensors on a device."""
        return Route(
            self.row.to(device),
            self.place.to(device),
            self.sends,
            self.receives,
            self.others.to(device),
            self.every.to(device),
            self.idle,
        )


def route(cut: Shard, rank: int, batch: int) -> Route:
    """Return what a rank sends and receives for ``batch`` batch rows."""
    apart = cut.batch
    own = np.broadcast_to(table_of(cut.keys, rank), (apart, cut.plan.kv_len))
    holder = np.repeat(cut.keys.owner, cut.keys.sizes, axis=1)
    holder = np.broadcast_to(holder, own.shape)
    row, place, sends = _sent(cut, rank, own, batch)
    seen = cut.needs_keys(rank)
    received, receives = _received(seen, holder, rank, cut.ranks, batch)
    first, held = int(cut.keys.edges[0]), int(cut.keys.lengths[rank])
    there, every, where, all_where = [], [], [], []
    for b in range(batch):
        told = b if apart > 1 else 0
        mine = own[told][seen[told]]
        found = received[b, seen[told]]
        there.append(found[mine < 0])
        every.append(np.where(mine < 0, found + batch * held, mine + b * held))
        all_where.append(np.flatnonzero(seen[told]) + first)
        where.append(all_where[-1][mine < 0])
    count = sum(receives)
    return Route(
        torch.from_numpy(row),
        torch.from_numpy(place),
        sends,
        receives,
        Order.of(there, where, count, apart),
        Order.of(every, all_where, batch * held + count, apart),
        not cut.received.any(),
    )


def table_of(assignment: Assignment, rank: int) -> Ints:
    """Return the place of each position among the tokens a rank holds, [1|B, length]; else -1."""
    inside = np.repeat(assignment.owner, assignment.sizes, axis=1) == rank
    return np.where(inside, np.cumsum(inside, axis=1) - 1, -1)


def _sent(cut: Shard, rank: int, own: Ints, batch: int) -> tuple[Ints, Ints, list[int]]:
    """Return batch row and place of the tokens sent, and how many go to each rank."""
    asked = cut.asked_of(rank)
    told = [asked[b if cut.batch > 1 else 0] for b in range(batch)]
    others = np.concatenate([each for each, _ in told])
    row = np.repeat(np.arange(batch), [len(each) for each, _ in told])
    place = np.concatenate(
        [own[b if cut.batch > 1 else 0][keys] for b, (_, keys) in enumerate(told)]
    )
    order = np.argsort(others, kind="stable")
    return row[order], place[order], np.bincount(others, minlength=cut.ranks).tolist()


def _received(
    seen: NDArray[np.bool_], holder: NDArray[np.int32], rank: int, ranks: int, batch: int
) -> tuple[Ints, list[int]]:
    """Return where each position is among what is received, [batch, kv_len], and how many of whom.

    What comes of a rank is in the order of batch rows, and of positions in each.
    """
    away = np.broadcast_to(seen & (holder != rank), (batch, seen.shape[1]))
    flat = np.flatnonzero(away)
    whose = np.broadcast_to(holder, away.shape).reshape(-1)[flat]
    place = np.full(away.size, -1, dtype=np.int64)
    place[flat[np.argsort(whose, kind="stable")]] = np.arange(len(flat))
    return place.reshape(away.shape), np.bincount(whose, minlength=ranks).tolist()

"""Who computes what, where one device is not enough: a plan cut into shards of queries.

Each rank holds some blocks of tokens, computes the rows of its queries, and asks the others for
exactly the keys that those rows see. Arithmetic on the block map alone: sending is the part of
distributed/, dealing blocks out that of shard_assign.py, and what is seen that of shard_keys.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.lazy import room
from sightline.masks.arguments import as_size
from sightline.masks.bits import count_bits
from sightline.plan.block_map import FULL_RUN, BlockMap
from sightline.plan.shard_assign import EVENNESS, area_at_least, counts_of, evened_out
from sightline.plan.shard_keys import Seen, seen_blocks, seen_keys

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

__all__ = [
    "EVEN_COSTS",
    "Assignment",
    "BlockCosts",
    "Shard",
    "block_costs",
    "contiguous",
    "shard",
    "usual_block",
]

# Blocks a rank has at least, where a sequence is long enough: with fewer, areas differ.
_LEAST_BLOCKS = 8
_LARGEST_BLOCK = 128


class BlockCosts(NamedTuple):
    """What work costs, in allowed pairs of a FULL block.

    Attributes:
        full: an allowed pair in a FULL block.
        partial: an allowed pair in a PARTIAL block.
        cell: any cell of a PARTIAL block, for engines that compute those whole.
    """

    full: float = 1.0
    partial: float = 1.0
    cell: float = 0.0


# Every allowed pair costs the same, and nothing else costs anything: the exact allowed area.
EVEN_COSTS = BlockCosts()


@dataclass(frozen=True, eq=False)
class Assignment:
    """Which rank holds which block of tokens.

    Every rank holds as many tokens in one batch row as in another.

    Attributes:
        owner: int32 ``[1|B, blocks]``, the rank that holds each block.
        edges: int64 ``[blocks + 1]``, the absolute positions at which blocks begin and end.
        ranks: how many there are.
    """

    owner: NDArray[np.int32]
    edges: Ints
    ranks: int

    @property
    def batch(self) -> int:
        """How many batch rows are told apart; 1 if all are dealt out alike."""
        return len(self.owner)

    @property
    def length(self) -> int:
        """How many tokens there are in a batch row."""
        return int(self.edges[-1] - self.edges[0])

    @property
    def sizes(self) -> Ints:
        """How many tokens each block holds, ``[blocks]``."""
        return np.diff(self.edges)

    @cached_property
    def lengths(self) -> Ints:
        """How many tokens of a batch row each rank holds, ``[ranks]``."""
        held = np.bincount(self.owner[0], weights=self.sizes, minlength=self.ranks)
        return held.astype(np.int64)

    def blocks(self, rank: int) -> Ints:
        """Return the blocks that a rank holds, rising, ``[1|B, n]``."""
        rows = [np.flatnonzero(row == rank) for row in self.owner]
        return np.stack(rows)

    def positions(self, rank: int) -> Ints:
        """Return the absolute positions of the tokens that a rank holds, rising, ``[1|B, n]``."""
        inside = np.repeat(self.owner, self.sizes, axis=1) == rank
        first, stop = int(self.edges[0]), int(self.edges[-1])
        place = np.broadcast_to(np.arange(first, stop, dtype=np.int64), inside.shape)
        return place[inside].reshape(self.batch, -1)


@dataclass(frozen=True, eq=False)
class Shard:
    """A plan cut into shards: who holds which tokens, computes which rows, needs which keys.

    Attributes:
        plan: the block map that is cut, with uniform cuts.
        queries: who holds which queries and computes their rows.
        keys: who holds which keys; the same object as ``queries`` for self-attention.
        costs: what work costs.
    """

    plan: BlockMap
    queries: Assignment
    keys: Assignment
    costs: BlockCosts = EVEN_COSTS

    @property
    def ranks(self) -> int:
        """How many ranks there are."""
        return self.queries.ranks

    @cached_property
    def area(self) -> NDArray[np.float64]:
        """The cost of each rank's rows, ``[ranks]``, over the plan's batch rows and heads."""
        return _area(block_costs(self.plan, self.costs).sum(axis=1), self.queries)

    @property
    def balance(self) -> float:
        """Largest ÷ mean area; 1 is perfect, and what it is if there is no work at all."""
        mean = float(self.area.mean())
        return float(self.area.max()) / mean if mean else 1.0

    @cached_property
    def balance_at_least(self) -> float:
        """A bound: no assignment of these blocks, equally many to each rank, has less balance."""
        mean = float(self.area.mean())
        cost = block_costs(self.plan, self.costs).sum(axis=1)
        return area_at_least(cost, self.ranks) / mean if mean else 1.0

    @property
    def batch(self) -> int:
        """How many batch rows are told apart, by the mask or by who holds what."""
        return max(self.plan.batch, self.queries.batch, self.keys.batch)

    @cached_property
    def _blocks(self) -> Seen:
        return seen_blocks(self.plan, self.queries.owner, self.ranks, self.batch)

    @cached_property
    def _keys(self) -> Seen:
        return seen_keys(self.plan, self.queries.owner, self.ranks, self.batch)

    @property
    def needed(self) -> tuple[Ints, Ints, Ints]:
        """The stretches of key blocks that each rank's rows see, its own included.

        ``(start, first, stop)``: the stretches of batch row b of rank r are those from
        ``start[r * B + b]`` up to ``start[r * B + b + 1]``, each from block ``first`` up to
        ``stop``; they rise and do not touch. B is ``batch``.
        """
        return self._blocks.start, self._blocks.first, self._blocks.stop

    def needs(self, rank: int) -> NDArray[np.bool_]:
        """Return which key blocks a rank's rows see, its own included, ``[batch, kv_blocks]``."""
        blocks = np.arange(self.plan.kv_blocks + 1)
        groups = range(rank * self.batch, (rank + 1) * self.batch)
        return np.stack([self._blocks.keys(group, blocks) for group in groups])

    def needs_keys(self, rank: int) -> NDArray[np.bool_]:
        """Return which keys a rank's rows see, its own included, ``[batch, kv_len]``.

        A key of a needed block that no row of the rank sees is not among them.
        """
        groups = range(rank * self.batch, (rank + 1) * self.batch)
        return np.stack([self._keys.keys(group, self.keys.edges) for group in groups])

    def asked_of(self, rank: int) -> list[tuple[Ints, Ints]]:
        """Return which keys that a rank holds others' rows see, for each of the ``batch`` rows.

        ``(others, keys)``: who sees which key, counted from the first; rank after rank, rising.
        """
        held = np.broadcast_to(self.keys.owner, (self.batch, self.plan.kv_blocks)) == rank
        found: list[tuple[Ints, Ints]] = []
        for row in range(self.batch):
            others, keys = self._keys.asked(row, np.flatnonzero(held[row]), self.keys.edges)
            found.append((others[others != rank], keys[others != rank]))
        return found

    @cached_property
    def received(self) -> Ints:
        """How many keys each rank receives, ``[ranks]``, over the ``batch`` rows told apart.

        Those that its rows see and it does not hold: the least that this assignment allows.
        """
        return self._keys.received(self.keys.owner, self.keys.edges)

    @cached_property
    def received_in_blocks(self) -> Ints:
        """How many keys each rank would receive in whole blocks, ``[ranks]``."""
        return self._blocks.received(self.keys.owner, self.keys.edges)

    @cached_property
    def sent(self) -> Ints:
        """How many keys each rank sends, ``[ranks]``; one sent to several counts for each."""
        return self._keys.sent(self.keys.owner, self.keys.edges)

    @cached_property
    def sent_in_blocks(self) -> Ints:
        """How many keys each rank would send in whole blocks, ``[ranks]``."""
        return self._blocks.sent(self.keys.owner, self.keys.edges)

    def received_bytes(
        self,
        *,
        kv_heads: int = 1,
        head_dim: int = 64,
        value_dim: int | None = None,
        dtype_bytes: int = 4,
    ) -> Ints:
        """Return how many bytes of keys and values each rank receives forward, ``[ranks]``.

        Args:
            kv_heads: number of key/value heads.
            head_dim: length of a key.
            value_dim: length of a value; None means ``head_dim``.
            dtype_bytes: bytes of one of their numbers.

        Raises:
            InvalidArgument: a number that is no integer of at least 1.
        """
        sizes = {"kv_heads": kv_heads, "head_dim": head_dim, "dtype_bytes": dtype_bytes}
        sizes["value_dim"] = head_dim if value_dim is None else value_dim
        for name, size in sizes.items():
            sizes[name] = as_size(size, f"received_bytes({name}=)", error=InvalidArgument)
        numbers = sizes["kv_heads"] * (sizes["head_dim"] + sizes["value_dim"])
        return self.received * (numbers * sizes["dtype_bytes"])

    def under(self, plan: BlockMap) -> Shard:
        """Return the shards of another mask for tokens dealt out as these.

        Raises:
            ShapeMismatch: a plan of another shape or other blocks.
        """
        wanted = (self.plan.frame, self.plan.block_q, self.plan.block_kv)
        if (plan.frame, plan.block_q, plan.block_kv) != wanted:
            raise ShapeMismatch(
                f"got a plan of {plan.q_len} x {plan.kv_len} in blocks of {plan.block_q} x "
                f"{plan.block_kv}; wanted {self.plan.q_len} x {self.plan.kv_len} in blocks of "
                f"{self.plan.block_q} x {self.plan.block_kv}; call sl.plan with those."
            )
        return Shard(plan, self.queries, self.keys, self.costs)

    def draw(self, to: str = "svg") -> Any:
        """Return a picture of who holds and receives what: "svg", "png", "html" or "txt".

        >>> import sightline as sl
        >>> shard(sl.plan(sl.causal(), 1024), 4).draw()
        <Drawing svg: causal() on 4 ranks: largest / mean area 1.000, at most 768 keys received>
        """
        return room("views.shard_picture").draw_shard(self, to=to)

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        return room("views.shard_picture").shard_html(self)


def shard(
    plan: BlockMap,
    ranks: int,
    *,
    communication: float = 0.0,
    costs: BlockCosts = EVEN_COSTS,
    keys: Assignment | None = None,
) -> Shard:
    """Return a plan cut into shards of equally many tokens and equally much work.

    Args:
        plan: the block map, with uniform cuts.
        ranks: among how many it is dealt out.
        communication: what receiving or sending one key costs, in allowed pairs. 0 evens areas
            out till the largest is within half a percent of the mean, or as far as blocks allow,
            and spares communication where that costs no more; a price trades balance for it.
        costs: what the engine's blocks cost, a ``sightline.plan.shard.BlockCosts``.
        keys: who holds which keys; None: whoever holds the query of the same position, or where
            queries and keys are not one sequence, equal stretches in order.

    Raises:
        InvalidArgument: a plan with aligned cuts, or numbers out of range.
        ShapeMismatch: ``keys`` of another length, other blocks or other ranks.

    >>> import sightline as sl
    >>> cut = shard(sl.plan(sl.causal(), 4096), 4)
    >>> cut.balance, cut.queries.lengths
    (1.0, array([1024, 1024, 1024, 1024]))
    """
    if plan.cuts != "uniform":
        raise InvalidArgument(
            f"got a plan with cuts={plan.cuts!r}; wanted uniform ones; call sl.plan without cuts=."
        )
    ranks = as_size(ranks, "shard(ranks=)", error=InvalidArgument)
    if not communication >= 0:
        raise InvalidArgument(f"got communication={communication}; wanted 0 or more.")
    if keys is not None and not (
        keys.ranks == ranks and np.array_equal(keys.edges, plan.grid.k_edges[0])
    ):
        raise ShapeMismatch(
            f"got keys= for {keys.length} keys in {len(keys.sizes)} blocks on {keys.ranks} ranks; "
            f"wanted {plan.kv_len} keys in {plan.kv_blocks} blocks on {ranks}; cut both alike."
        )
    cost = block_costs(plan, costs).sum(axis=1)

    def dealt(evenness: float, folded: bool) -> Assignment:
        owner = evened_out(plan, cost, ranks, evenness=evenness, folded=folded)
        return Assignment(owner, plan.grid.q_edges[0], ranks)

    cuts = [
        _cut(plan, dealt(each, folded), keys, costs)
        for each in (EVENNESS if communication else EVENNESS[-1:])
        for folded in (False, True)
    ]
    return _best(cuts, cost, communication)


def _cut(plan: BlockMap, queries: Assignment, keys: Assignment | None, costs: BlockCosts) -> Shard:
    if keys is None:
        one = np.array_equal(plan.grid.q_edges, plan.grid.k_edges)
        keys = queries if one else contiguous(plan.grid.k_edges[0], queries.ranks)
    return Shard(plan, queries, keys, costs)


def _best(cuts: list[Shard], cost: NDArray[np.float64], communication: float) -> Shard:
    """Return the cut whose busiest rank has least to do; traffic is counted in whole blocks."""
    # An exchange lasts as long as the larger of what a rank receives and what it sends.
    traffic = [np.maximum(cut.received_in_blocks, cut.sent_in_blocks) for cut in cuts]
    area = [_area(cost, cut.queries) for cut in cuts]
    if communication:
        order = [
            (float((a + communication * t).max()), 0.0) for a, t in zip(area, traffic, strict=True)
        ]
    else:
        even = min(float(each.max()) for each in area) * (1 + EVENNESS[-1])
        order = [
            (float(t.max()) if a.max() <= even else np.inf, float(a.max()))
            for a, t in zip(area, traffic, strict=True)
        ]
    return cuts[order.index(min(order))]


def _area(cost: NDArray[np.float64], queries: Assignment) -> NDArray[np.float64]:
    owner = np.broadcast_to(queries.owner, cost.shape)
    total = np.bincount(owner.reshape(-1), weights=cost.reshape(-1), minlength=queries.ranks)
    return total.astype(np.float64)


def usual_block(length: int, ranks: int) -> int:
    """Return how many tokens stay together if nobody says: few enough that work can be even.

    >>> usual_block(2**20, 64), usual_block(2**10, 8), usual_block(5, 8)
    (128, 16, 1)
    """
    block = _LARGEST_BLOCK
    while block > 1 and length < block * ranks * _LEAST_BLOCKS:
        block //= 2
    return block


def contiguous(edges: Ints, ranks: int) -> Assignment:
    """Return blocks dealt out in order, equally many to each rank."""
    owner = np.repeat(np.arange(ranks, dtype=np.int32), counts_of(len(edges) - 1, ranks))
    return Assignment(owner[None], edges, ranks)


def block_costs(plan: BlockMap, costs: BlockCosts) -> NDArray[np.float64]:
    """Return what each block of queries costs, ``[batch, heads, q_blocks]`` of the plan's own."""
    heights, widths = plan.extents()
    is_full = plan.pattern == FULL_RUN
    work = (heights * widths) * np.where(is_full, costs.full, costs.cell)
    if len(plan.patterns):
        ones = count_bits(plan.patterns, axis=(1, 2))
        length = plan.last_block.astype(np.int64) - plan.first_block + 1
        pairs = ones[np.where(is_full, 0, plan.pattern)] * length
        work = work + np.where(is_full, 0.0, pairs * costs.partial)
    rows = len(plan.row_start) - 1
    total = np.bincount(plan.row, weights=work, minlength=rows)
    return total.astype(np.float64).reshape(plan.batch, plan.heads, plan.q_blocks)

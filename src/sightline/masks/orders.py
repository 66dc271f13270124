"""Masks that follow an order of the tokens other than their positions: XLNet's orders and trees.

Positions beyond the data are nobody's: they see nothing and nobody sees them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from sightline.errors import InvalidMask
from sightline.masks.arguments import as_rows, describe
from sightline.masks.arrays import Array, Cells, Data
from sightline.masks.bounds import states
from sightline.masks.data import flat_if_one
from sightline.masks.mask import Extent, Mask, Spec
from sightline.masks.nodes import Atom
from sightline.masks.range_least import RangeLeast

if TYPE_CHECKING:
    from sightline.masks.bounds import Bools, Run, States, Tiles


@dataclass(frozen=True, slots=True, repr=False)
class Permutation(Atom):
    """The key comes before the query in a factorization order, or (content) is the query."""

    ranks: Data
    stream: Literal["content", "query"]
    kept: list[RangeLeast] = field(default_factory=list[RangeLeast], compare=False)

    @property
    def batch(self) -> int:
        return len(self.ranks.array)

    def allowed(self, cells: Cells) -> Array:
        query, query_inside = cells.lookup(self.ranks.array, cells.query)
        key, key_inside = cells.lookup(self.ranks.array, cells.key)
        earlier = key <= query if self.stream == "content" else key < query
        return earlier & query_inside & key_inside

    def bounds(self, tiles: Tiles) -> States:
        least, most = self.extremes()
        beyond, whole, queries, keys = within(tiles, self.ranks.array.shape[1])
        q_least, k_least = least(tiles.batch, *queries), least(tiles.batch, *keys)
        q_most, k_most = -most(tiles.batch, *queries), -most(tiles.batch, *keys)
        own = 1 if self.stream == "content" else 0
        none = beyond | (k_least >= q_most + own)
        return states(none, whole & ~none & (k_most < q_least + own))

    def extremes(self) -> tuple[RangeLeast, RangeLeast]:
        """Return the least rank of a stretch, and the greatest, negated. Kept."""
        if not self.kept:
            self.kept.extend([RangeLeast(self.ranks.array), RangeLeast(-self.ranks.array)])
        return self.kept[0], self.kept[1]

    def spec(self) -> Spec:
        order = np.argsort(self.ranks.array, axis=1).tolist()
        return "permutation", {"order": flat_if_one(order), "stream": self.stream}

    def extent(self) -> Extent:
        size = self.ranks.array.shape[1]
        return size, size


@dataclass(frozen=True, slots=True, repr=False)
class Tree(Atom):
    """The key is the query or one of its ancestors.

    ``enter`` and ``leave`` number the nodes in depth-first order: k is an ancestor of q, or q
    itself, iff enter[k] <= enter[q] < leave[k].
    """

    parents: Data
    enter: Data = field(compare=False)
    leave: Data = field(compare=False)
    kept: list[RangeLeast] = field(default_factory=list[RangeLeast], compare=False)

    @property
    def batch(self) -> int:
        return len(self.parents.array)

    def allowed(self, cells: Cells) -> Array:
        query, query_inside = cells.lookup(self.enter.array, cells.query)
        first, key_inside = cells.lookup(self.enter.array, cells.key)
        last, _ = cells.lookup(self.leave.array, cells.key)
        return (first <= query) & (query < last) & query_inside & key_inside

    def bounds(self, tiles: Tiles) -> States:
        if not self.kept:
            enter, leave = self.enter.array, self.leave.array
            self.kept.extend(RangeLeast(table) for table in (enter, -enter, leave, -leave))
        enter, enter_most, leave, leave_most = self.kept
        beyond, whole, queries, keys = within(tiles, self.parents.array.shape[1])
        q_least, q_most = enter(tiles.batch, *queries), -enter_most(tiles.batch, *queries)
        k_least, k_most = enter(tiles.batch, *keys), -enter_most(tiles.batch, *keys)
        none = beyond | (q_most < k_least) | (q_least >= -leave_most(tiles.batch, *keys))
        full = (k_most <= q_least) & (q_most < leave(tiles.batch, *keys))
        return states(none, whole & ~none & full)

    def spec(self) -> Spec:
        return "tree", {"parents": flat_if_one(self.parents.array.tolist())}

    def extent(self) -> Extent:
        size = self.parents.array.shape[1]
        return size, size


def within(tiles: Tiles, size: int) -> tuple[Bools, Bools, Run, Run]:
    """Return which tiles lie beyond the data, which wholly within, and the ends cut to them."""
    beyond = (tiles.q_first >= size) | (tiles.k_first >= size)
    whole = (tiles.q_last < size) & (tiles.k_last < size)
    queries, keys = (
        (np.minimum(first, size - 1), np.minimum(last, size - 1))
        for first, last in ((tiles.q_first, tiles.q_last), (tiles.k_first, tiles.k_last))
    )
    return beyond, whole, queries, keys


# -- what users call --------------------------------------------------------------------------


def permutation(order: object, stream: Literal["content", "query"] = "content") -> Mask:
    """XLNet's masks for a factorization order: the key's turn comes before the query's.

    ``order[t]`` is the position that is predicted at step t, ``[N]`` or ``[B, N]``; rank is its
    inverse. ``stream="content"``: rank(k) <= rank(q); ``"query"``: rank(k) < rank(q), so that a
    position does not see itself (Yang et al. 2019, "XLNet", section 2.3).

    >>> import sightline as sl
    >>> sl.permutation([2, 0, 1], stream="query").dense(3)[0, 0].astype(int)
    array([[0, 0, 1],
           [1, 0, 1],
           [0, 0, 0]])
    """
    if not isinstance(cast(Any, stream), str) or stream not in ("content", "query"):
        raise InvalidMask(
            f"permutation(stream=) must be 'content' or 'query', got {describe(stream)}."
        )
    orders = as_rows(order, "permutation(order=)")
    wanted = list(range(orders.shape[1]))
    for row in orders:
        if sorted(row.tolist()) != wanted:
            raise InvalidMask(
                f"permutation(order=) must hold every position from 0 to {len(wanted) - 1} once, "
                f"got {describe(row.tolist())}."
            )
    ranks = np.argsort(orders, axis=1)
    return Permutation(Data(ranks), "content" if stream == "content" else "query")


def tree(parents: object) -> Mask:
    """The key is the query or one of its ancestors in a tree (or forest) of tokens.

    ``parents[i]`` is the parent of position i, -1 for a root, ``[N]`` or ``[B, N]``. For
    speculative decoding over several drafts at once (Miao et al. 2023, "SpecInfer").

    >>> import sightline as sl
    >>> sl.tree([-1, 0, 0, 2]).dense(4)[0, 0].astype(int)
    array([[1, 0, 0, 0],
           [1, 1, 0, 0],
           [1, 0, 1, 0],
           [1, 0, 1, 1]])
    """
    rows = as_rows(parents, "tree(parents=)", least=-1)
    numbered = [_depth_first(row.tolist()) for row in rows]
    enter = np.array([e for e, _ in numbered], dtype=np.int64)
    leave = np.array([x for _, x in numbered], dtype=np.int64)
    return Tree(Data(rows), Data(enter), Data(leave))


def _depth_first(parents: list[int]) -> tuple[list[int], list[int]]:
    """Return each node's number in depth-first order, and one past that of its last descendant."""
    children: list[list[int]] = [[] for _ in parents]
    roots: list[int] = []
    for node, parent in enumerate(parents):
        if parent >= len(parents):
            raise InvalidMask(
                f"tree(parents=)[{node}] is {parent}, but there are {len(parents)} positions."
            )
        (roots if parent < 0 else children[parent]).append(node)
    enter, leave = [-1] * len(parents), [-1] * len(parents)
    count = 0
    waiting = [(node, False) for node in reversed(roots)]
    while waiting:
        node, done = waiting.pop()
        if done:
            leave[node] = count
            continue
        enter[node] = count
        count += 1
        waiting.append((node, True))
        waiting.extend((child, False) for child in reversed(children[node]))
    if count < len(parents):
        stuck = enter.index(-1)
        raise InvalidMask(
            f"tree(parents=) goes in a circle at position {stuck}; following parents must end "
            "at a root, whose parent is -1."
        )
    return enter, leave


__all__ = ["permutation", "tree"]

"""The definitions of the masks that carry data: lengths, documents, orders, trees, arrays.

A batch has as many rows as the data; one row stands for all. Arguments are taken as valid:
refusing bad ones is the work of the masks, not of their judge.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from sightline.errors import InvalidMask, ShapeMismatch
from sightline.reference.meaning import Meaning, int_list

__all__ = ["DATA"]


def int_rows(data: Any) -> list[list[int]]:
    """Return data given as [N], [B, N] or ragged lists as one list of ints per batch row."""
    items = list(data)
    if any(np.ndim(item) > 0 or isinstance(item, (list, tuple)) for item in items):
        return [[int(x) for x in row] for row in items]
    return [[int(x) for x in items]]


def padding(
    lengths: Any = None, valid: Any = None, side: str = "right", total: int | None = None
) -> Meaning:
    """The key is real, not padding; every query may look, padding or not."""
    if valid is not None:
        rows = int_rows(valid)
        return Meaning(lambda b, h, q, k: k < len(rows[b]) and rows[b][k] == 1, batch=len(rows))
    real = int_list(lengths)
    if side == "right":
        return Meaning(lambda b, h, q, k: k < real[b], batch=len(real))
    end = max(real) if total is None else total
    return Meaning(lambda b, h, q, k: end - real[b] <= k < end, batch=len(real))


def documents(lengths: Any = None, ids: Any = None, cu_seqlens: Any = None) -> Meaning:
    """The query and the key belong to the same document of a packed sequence."""
    if lengths is not None:
        rows = [ids_from_lengths(row) for row in int_rows(lengths)]
    elif cu_seqlens is not None:
        rows = [ids_from_offsets(row) for row in int_rows(cu_seqlens)]
    else:
        rows = int_rows(ids)

    def allowed(b: int, h: int, q: int, k: int) -> bool:
        row = rows[b]
        return q < len(row) and k < len(row) and row[q] == row[k]

    return Meaning(allowed, batch=len(rows))


def ids_from_lengths(lengths: list[int]) -> list[int]:
    """Give every position the number of its document: [2, 1] becomes [0, 0, 1]."""
    return [document for document, length in enumerate(lengths) for _ in range(length)]


def ids_from_offsets(offsets: list[int]) -> list[int]:
    """Give every position the number of its document: [0, 2, 3] becomes [0, 0, 1]."""
    return ids_from_lengths([offsets[i + 1] - offsets[i] for i in range(len(offsets) - 1)])


def spans(ids: Any) -> Meaning:
    """The query and the key have the same id, and it is not negative."""
    rows = int_rows(ids)

    def allowed(b: int, h: int, q: int, k: int) -> bool:
        row = rows[b]
        return q < len(row) and k < len(row) and row[q] == row[k] and row[q] >= 0

    return Meaning(allowed, batch=len(rows))


def prefix_lm(lengths: Any) -> Meaning:
    """The key lies in the prefix, or not after the query (Raffel et al. 2020, section 3.2.1)."""
    prefixes = int_list(lengths)
    return Meaning(lambda b, h, q, k: k < prefixes[b] or k <= q, batch=len(prefixes))


def seq2seq(source_lengths: Any) -> Meaning:
    """The same mask as prefix_lm, by the name of UniLM's task (Dong et al. 2019, section 2.3)."""
    return prefix_lm(source_lengths)


def permutation(order: Any, stream: str = "content") -> Meaning:
    """The key is predicted before the query; in the content stream a position sees itself too.

    Yang et al. 2019 (XLNet), section 2.3. ``order[t]`` is the position predicted at step t.
    """
    rows = int_rows(order)
    ranks = [{position: step for step, position in enumerate(row)} for row in rows]

    def allowed(b: int, h: int, q: int, k: int) -> bool:
        rank = ranks[b]
        if q not in rank or k not in rank:
            return False
        return rank[k] <= rank[q] if stream == "content" else rank[k] < rank[q]

    return Meaning(allowed, batch=len(rows))


def tree(parents: Any) -> Meaning:
    """The key is the query or one of its ancestors; the parent of a root is -1.

    Miao et al. 2024 (SpecInfer), section 4: tree attention.
    """
    rows = int_rows(parents)
    paths = [[path_to_root(node, row) for node in range(len(row))] for row in rows]
    return Meaning(lambda b, h, q, k: q < len(paths[b]) and k in paths[b][q], batch=len(rows))


def path_to_root(node: int, parents: list[int]) -> list[int]:
    """Return the node, its parent, the parent's parent, and so on."""
    path: list[int] = []
    while node != -1:
        if node in path:
            raise InvalidMask(
                f"tree(parents=...) goes round in a circle at node {node}; wanted every node to "
                "lead to a root; give the root the parent -1."
            )
        path.append(node)
        node = parents[node]
    return path


def dense(array: Any, means: str) -> Meaning:
    """As the array [Q, K] or [B|1, H|1, Q, K] says; it says nothing of what lies beyond it."""
    cells = np.asarray(array)
    if cells.ndim == 2:
        cells = cells[None, None]
    batch, heads, q_len, kv_len = cells.shape

    def allowed(b: int, h: int, q: int, k: int) -> bool:
        if q >= q_len or k >= kv_len:
            raise ShapeMismatch(
                f"got query {q}, key {k}; wanted positions inside the dense mask's "
                f"[{q_len}, {kv_len}]; ask for a smaller shape or give a larger array."
            )
        cell = cells[b, h, q, k]
        if means == "attend":
            return bool(cell)
        if means == "ignore":
            return not bool(cell)
        if cell == 0 or cell <= -1e4:
            return bool(cell == 0)
        raise InvalidMask(
            f'got {cell} in dense(array, means="additive"); wanted 0 (attend), or -inf or '
            "at most -1e4 (forbidden); put anything else into bias=."
        )

    return Meaning(allowed, batch, heads)


def intervals(start: Any, end: Any) -> Meaning:
    """``start[q] <= k < end[q]`` for one of the row's intervals.

    Arrays [Q], [Q, n], [B, Q, n] or [B, H, Q, n] for n intervals a row.
    """
    starts, ends = np.asarray(start), np.asarray(end)
    if starts.shape != ends.shape:
        raise ShapeMismatch(
            f"got start {starts.shape} and end {ends.shape}; wanted equal shapes; give every "
            "interval both."
        )
    if starts.ndim == 1:
        starts, ends = starts[:, None], ends[:, None]
    while starts.ndim < 4:
        # One axis short is one head for all; two axes short, one batch row too.
        axis = 1 if starts.ndim == 3 else 0
        starts, ends = np.expand_dims(starts, axis), np.expand_dims(ends, axis)
    batch, heads, q_len, count = starts.shape

    def allowed(b: int, h: int, q: int, k: int) -> bool:
        if q >= q_len:
            return False
        return any(starts[b, h, q, i] <= k < ends[b, h, q, i] for i in range(count))

    return Meaning(allowed, batch, heads)


class Undeclared:
    """The batch row or head of a predicate that declared no batch or heads: reading it raises."""

    def __init__(self, axis: str) -> None:
        self.axis = axis

    def refuse(self, *_: object, **__: object) -> NoReturn:
        """Raise, whatever was asked."""
        raise InvalidMask(
            f"a predicate read its {self.axis} index without declaring it; wanted "
            f"{self.axis}=<size>; write predicate(fn, {self.axis}=...)."
        )

    __getattr__ = __getitem__ = __array__ = __array_ufunc__ = __index__ = __int__ = refuse
    __bool__ = __float__ = __neg__ = __invert__ = __abs__ = __hash__ = refuse
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = refuse
    __add__ = __sub__ = __mul__ = __floordiv__ = __truediv__ = __mod__ = __pow__ = refuse
    __radd__ = __rsub__ = __rmul__ = __rfloordiv__ = __rtruediv__ = __rmod__ = refuse
    __and__ = __or__ = __xor__ = __rand__ = __ror__ = __rxor__ = refuse
    __lshift__ = __rshift__ = __rlshift__ = __rrshift__ = __rpow__ = refuse


def predicate(
    fn: Callable[..., Any],
    bounds: object = None,
    batch: int | None = None,
    heads: int | None = None,
) -> Meaning:
    """As the callable says, one pair at a time; ``bounds`` only promises, so it is not asked."""

    def allowed(b: int, h: int, q: int, k: int) -> bool:
        row = Undeclared("batch") if batch is None else np.array(b)
        head = Undeclared("heads") if heads is None else np.array(h)
        return bool(fn(row, head, np.array(q), np.array(k)))

    return Meaning(allowed, batch or 1, heads or 1)


DATA: dict[str, Callable[..., Meaning]] = {
    "padding": padding,
    "documents": documents,
    "spans": spans,
    "prefix_lm": prefix_lm,
    "seq2seq": seq2seq,
    "permutation": permutation,
    "tree": tree,
    "dense": dense,
    "intervals": intervals,
    "predicate": predicate,
}

"""Hypothesis strategies for random mask expressions and the rectangles to ask them at.

They draw specs (plain tuples), which build a mask through the public face on one side and are
read by the oracle on the other. Sizes of batch, heads, queries and keys differ on purpose, so
that a wrong broadcast cannot go unseen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

Strategy = st.SearchStrategy[Any]

# Far enough beyond every frame for any shift that is drawn.
FARTHEST_SHIFT = 4


@dataclass(frozen=True)
class Frame:
    """Where a mask is asked: absolute rectangles of queries and keys, and the mask's axes."""

    q_len: int
    kv_len: int
    q_offset: int
    kv_offset: int
    batch: int
    heads: int

    @property
    def at(self) -> tuple[int, int, int, int]:
        """The four arguments of ``mask.dense``."""
        return self.q_len, self.kv_len, self.q_offset, self.kv_offset

    @property
    def reach(self) -> int:
        """One past the farthest position that the frame, or a shift of it, asks about."""
        stops = self.q_offset + self.q_len, self.kv_offset + self.kv_len
        return max(stops) + FARTHEST_SHIFT


@st.composite
def frames(draw: st.DrawFn, longest: int = 7) -> Frame:
    """Draw a frame whose batch, heads, query and key sizes all differ."""
    batch, heads = draw(st.sampled_from([(2, 3), (3, 2), (3, 4), (2, 5)]))
    q_len = draw(st.integers(1, longest))
    kv_len = draw(st.integers(1, longest + 3).filter(lambda n: n != q_len))
    return Frame(
        q_len, kv_len, draw(st.integers(0, 6)), draw(st.sampled_from([0, 0, 1, 5])), batch, heads
    )


@st.composite
def calls(draw: st.DrawFn, longest: int = 7) -> Frame:
    """Draw a frame as calls of libraries have them: keys from 0 on, half of them self-attention.

    A sixth are decode steps: one query, the newest key. The others are rectangles, and squares of
    queries that stand behind the first keys.
    """
    frame = draw(frames(longest))
    kind = draw(st.sampled_from(["square", "square", "square", "decode", "rectangle", "later"]))
    q_len, kv_len, q_offset = {
        "square": (frame.kv_len, frame.kv_len, 0),
        "decode": (1, frame.kv_len, frame.kv_len - 1),
        "rectangle": (frame.q_len, frame.kv_len, frame.q_offset),
        "later": (frame.q_len, frame.q_len, frame.q_offset),
    }[kind]
    return Frame(q_len, kv_len, q_offset, 0, frame.batch, frame.heads)


def expressions(frame: Frame, depth: int = 3, *, opaque: bool = True) -> Strategy:
    """Return a strategy of specs over all masks, with operators nested at most ``depth`` deep."""
    names = [name for name in ATOMS if opaque or name != "predicate"]
    leaf: Strategy = st.sampled_from(names).flatmap(lambda name: atoms(name, frame))
    if depth == 0:
        return leaf
    part = expressions(frame, depth - 1, opaque=opaque)
    simple = expressions(frame.__class__(*frame.at, 1, 1), 0, opaque=opaque)
    return st.one_of(leaf, _compound(part), _per_row(simple, frame))


def _compound(part: Strategy) -> Strategy:
    amounts = st.integers(-FARTHEST_SHIFT, FARTHEST_SHIFT)
    moves = st.fixed_dictionaries({}, optional={"query": amounts, "key": amounts})
    return st.one_of(
        st.tuples(st.sampled_from(["and", "or", "minus", "xor"]), part, part),
        st.tuples(st.sampled_from(["and", "or"]), part, part, part),
        st.tuples(st.sampled_from(["not", "transpose"]), part),
        st.tuples(st.just("shift"), part, moves),
    )


def _per_row(part: Strategy, frame: Frame) -> Strategy:
    def rows(name: str, count: int) -> Strategy:
        masks = st.lists(part, min_size=count, max_size=count)
        return masks.map(lambda each: (name, {"masks": each}))

    return rows("per_batch", frame.batch) | rows("per_head", frame.heads)


def atoms(name: str, frame: Frame) -> Strategy:
    """Return a strategy of specs of the one mask ``name``."""
    return ATOMS[name](frame).map(lambda arguments: (name, arguments))


# -- one strategy of arguments for each mask ---------------------------------------------------


def _rows(frame: Frame, row: Callable[[int], Strategy], longest: int = 12) -> Strategy:
    """Either one row ``[N]`` or one for each batch row, ``[B][N]``."""

    def of_size(n: int) -> Strategy:
        batched = st.lists(row(n), min_size=frame.batch, max_size=frame.batch)
        return st.one_of(row(n), batched)

    return st.integers(1, longest).flatmap(of_size)


def _column(frame: Frame, values: Strategy) -> Strategy:
    return st.one_of(values, st.lists(values, min_size=frame.batch, max_size=frame.batch))


def _optional_int(least: int, most: int) -> Strategy:
    return st.none() | st.integers(least, most)


def _positions(_: Frame) -> Strategy:
    point = st.integers(0, 12)
    sections = st.tuples(point, st.none() | point).map(lambda ends: slice(*ends))
    stepped = st.tuples(point, point, st.integers(1, 3))
    choice = st.one_of(
        point,
        st.lists(point, max_size=6),
        sections,
        stepped.map(lambda s: slice(*s)),
        stepped.map(lambda s: range(*s)),
        st.lists(point, max_size=6).map(lambda p: np.array(p, dtype=np.int32)),
    )
    return st.fixed_dictionaries({"positions": choice})


@st.composite
def _shifted_window(draw: st.DrawFn, _: Frame) -> dict[str, Any]:
    axes = draw(st.sampled_from([2, 2, 3]))
    grid = draw(st.tuples(*[st.integers(1, 5 if axes == 2 else 3)] * axes))
    window = draw(st.one_of(st.integers(1, 4), st.tuples(*[st.integers(1, 4)] * axes)))
    least = window if isinstance(window, int) else min(window)
    step = st.integers(0, least - 1)
    shift = draw(st.one_of(step, st.tuples(*[step] * axes)))
    return {"grid": grid, "window": window, "shift": shift}


@st.composite
def _neighborhood(draw: st.DrawFn, _: Frame) -> dict[str, Any]:
    axes = draw(st.integers(1, 3))
    kernel = draw(st.tuples(*[st.integers(1, 4 if axes == 1 else 2)] * axes))
    dilation = draw(st.tuples(*[st.integers(1, 2)] * axes))
    spare = draw(st.tuples(*[st.integers(0, 4 if axes < 3 else 1)] * axes))
    grid = tuple(k * d + s for k, d, s in zip(kernel, dilation, spare, strict=True))
    return {"grid": grid, "kernel": kernel, "dilation": dilation}


@st.composite
def _axial(draw: st.DrawFn, _: Frame) -> dict[str, Any]:
    grid = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    return {"grid": grid, "axis": draw(st.integers(-len(grid), len(grid) - 1))}


@st.composite
def _padding(draw: st.DrawFn, frame: Frame) -> dict[str, Any]:
    if draw(st.booleans()):
        bits = _rows(frame, lambda n: st.lists(st.booleans(), min_size=n, max_size=n))
        return {"valid": draw(bits)}
    lengths = draw(_column(frame, st.integers(0, 12)))
    arguments = {"lengths": lengths, "side": draw(st.sampled_from(["right", "left"]))}
    if draw(st.booleans()):
        arguments["total"] = int(np.max(lengths)) + draw(st.integers(0, 3))
    return arguments


@st.composite
def _documents(draw: st.DrawFn, frame: Frame) -> dict[str, Any]:
    lengths = st.lists(st.integers(0, 5), max_size=5)
    kind = draw(st.sampled_from(["lengths", "ids", "cu_seqlens"]))
    if kind == "ids":
        ids = _rows(frame, lambda n: st.lists(st.integers(0, 3), min_size=n, max_size=n))
        return {"ids": draw(ids)}
    if kind == "cu_seqlens":
        steps = draw(_rows(frame, lambda n: st.lists(st.integers(0, 4), min_size=n, max_size=n), 4))
        steps = np.array(steps)
        zero = np.zeros((*steps.shape[:-1], 1), dtype=np.int64)
        return {"cu_seqlens": np.concatenate([zero, np.cumsum(steps, axis=-1)], axis=-1)}
    batched = st.lists(lengths, min_size=frame.batch, max_size=frame.batch)
    return {"lengths": draw(st.one_of(lengths, batched))}


@st.composite
def _tree(draw: st.DrawFn, frame: Frame) -> dict[str, Any]:
    size = draw(st.integers(1, 10))

    def one() -> list[int]:
        # Draw parents among earlier nodes, then rename the nodes: parents may come later.
        earlier = [draw(st.integers(-1, node - 1)) for node in range(size)]
        name = draw(st.permutations(range(size)))
        parents = [-1] * size
        for node, parent in enumerate(earlier):
            parents[name[node]] = -1 if parent < 0 else name[parent]
        return parents

    return {"parents": one() if draw(st.booleans()) else [one() for _ in range(frame.batch)]}


@st.composite
def _dense(draw: st.DrawFn, frame: Frame) -> dict[str, Any]:
    rows, columns = (frame.reach + draw(st.integers(0, 3)) for _ in range(2))
    lead = draw(st.sampled_from([(), (1, 1), (frame.batch, 1), (1, frame.heads)]))
    bits = np.random.default_rng(draw(st.integers(0, 2**16))).random((*lead, rows, columns)) < 0.5
    means = draw(st.sampled_from(["attend", "ignore", "additive"]))
    if means == "additive":
        forbids = draw(st.sampled_from([-np.inf, -1e9, -1e4]))
        return {"array": np.where(bits, np.float32(0), np.float32(forbids)), "means": means}
    return {"array": bits.astype(draw(st.sampled_from([bool, int, float]))), "means": means}


@st.composite
def _intervals(draw: st.DrawFn, frame: Frame) -> dict[str, Any]:
    rows, each = draw(st.integers(1, 12)), draw(st.integers(1, 3))
    batch, heads = frame.batch, frame.heads
    lead = draw(st.sampled_from([(), (batch,), (batch, heads), (1, heads)]))
    shape = (*lead, rows, each) if lead or draw(st.booleans()) else (rows,)
    random = np.random.default_rng(draw(st.integers(0, 2**16)))
    start = random.integers(0, 10, shape)
    return {"start": start, "end": start + random.integers(0, 5, shape)}


def _sum_is_even(b: Any, h: Any, q: Any, k: Any) -> Any:
    return (q + k) % 2 == 0


def _row_dependent(b: Any, h: Any, q: Any, k: Any) -> Any:
    return (q + 2 * k + b) % 3 != h % 2


def _predicate(frame: Frame) -> Strategy:
    declared = {"fn": _row_dependent, "batch": frame.batch, "heads": frame.heads}
    return st.sampled_from([{"fn": _sum_is_even}, declared])


ATOMS: dict[str, Callable[[Frame], Strategy]] = {
    "everything": lambda _: st.just({}),
    "nothing": lambda _: st.just({}),
    "causal": lambda _: st.fixed_dictionaries({}, optional={"strict": st.booleans()}),
    "window": lambda _: st.fixed_dictionaries(
        {"left": _optional_int(0, 5), "right": _optional_int(0, 5)}
    ),
    "prefix": lambda _: st.fixed_dictionaries({"n": st.integers(0, 9)}),
    "sinks": lambda _: st.fixed_dictionaries({"n": st.integers(0, 9)}),
    "keys": _positions,
    "queries": _positions,
    "chunks": lambda _: st.fixed_dictionaries({"size": st.integers(1, 5)}),
    "block_causal": lambda _: st.fixed_dictionaries({"size": st.integers(1, 5)}),
    "dilated": lambda _: st.fixed_dictionaries(
        {"stride": st.integers(1, 5)}, optional={"phase": st.integers(-7, 7)}
    ),
    "strided": lambda _: st.fixed_dictionaries({"stride": st.integers(1, 5)}),
    "fixed": lambda _: st.integers(1, 5).flatmap(
        lambda stride: st.fixed_dictionaries(
            {"stride": st.just(stride), "summary": st.integers(1, stride)}
        )
    ),
    "log_sparse": lambda _: st.fixed_dictionaries(
        {}, optional={"local": st.integers(0, 4), "restart": _optional_int(1, 6)}
    ),
    "log_sparse_row_mask": lambda _: st.fixed_dictionaries(
        {"sub_len": st.integers(2, 9), "win_len": st.integers(1, 20)}
    ),
    "random_blocks": lambda _: st.fixed_dictionaries(
        {
            "block": st.integers(1, 3),
            "per_row": st.integers(1, 4),
            "seed": st.integers(0, 2**31 - 1),
        }
    ),
    "shifted_window": _shifted_window,
    "neighborhood": _neighborhood,
    "axial": _axial,
    "block_diffusion": lambda _: st.integers(1, 7).flatmap(
        lambda n: st.fixed_dictionaries({"length": st.just(n), "block": st.integers(1, n)})
    ),
    "padding": _padding,
    "documents": _documents,
    "spans": lambda frame: st.fixed_dictionaries(
        {"ids": _rows(frame, lambda n: st.lists(st.integers(-2, 3), min_size=n, max_size=n))}
    ),
    "prefix_lm": lambda frame: st.fixed_dictionaries(
        {"lengths": _column(frame, st.integers(0, 9))}
    ),
    "seq2seq": lambda frame: st.fixed_dictionaries(
        {"source_lengths": _column(frame, st.integers(0, 9))}
    ),
    "permutation": lambda frame: st.fixed_dictionaries(
        {
            "order": _rows(frame, lambda n: st.permutations(range(n))),
            "stream": st.sampled_from(["content", "query"]),
        }
    ),
    "tree": _tree,
    "dense": _dense,
    "intervals": _intervals,
    "predicate": _predicate,
}

"""The oracle's masks that carry data against drawings made by hand: x may attend, . may not.

Rows are queries, columns are keys. Nothing here is computed by the code under test.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sightline.errors import InvalidMask, ShapeMismatch
from sightline.reference import dense
from sightline.testing.drawings import Drawings, Rows, drawing

DRAWN = Drawings(dense)
assert_drawn = DRAWN.alone
assert_batch_drawn = DRAWN.per_batch
assert_heads_drawn = DRAWN.per_head


CAUSAL = ("causal", {})


DATA: dict[str, tuple[Any, list[Rows]]] = {
    "padding": (("padding", {"lengths": [1, 3]}), [["x...", "x..."], ["xxx.", "xxx."]]),
    "padding, one length": (("padding", {"lengths": 2}), [["xx..", "xx.."]]),
    "padding, total on the right": (
        ("padding", {"lengths": [2], "total": 4}),
        [["xx...", "xx..."]],
    ),
    "padding, left": (
        ("padding", {"lengths": [1, 3], "side": "left"}),
        [["..x.", "..x."], ["xxx.", "xxx."]],
    ),
    "padding, left of a total": (
        ("padding", {"lengths": [1, 0, 3], "side": "left", "total": 4}),
        [["...x.", "...x."], [".....", "....."], [".xxx.", ".xxx."]],
    ),
    "padding, valid": (
        ("padding", {"valid": [[1, 0, 1], [0, 1, 1]]}),
        [["x.x.", "x.x."], [".xx.", ".xx."]],
    ),
    "padding, valid array": (
        ("padding", {"valid": np.array([False, True])}),
        [[".x..", ".x.."]],
    ),
    "documents, lengths": (
        ("documents", {"lengths": [2, 1]}),
        [["xx..", "xx..", "..x.", "...."]],
    ),
    "documents, ragged": (
        ("documents", {"lengths": [[1, 2], [2]]}),
        [["x..", ".xx", ".xx"], ["xx.", "xx.", "..."]],
    ),
    "documents, empty document": (
        ("documents", {"lengths": [1, 0, 1]}),
        [["x..", ".x.", "..."]],
    ),
    "documents, ids": (
        ("documents", {"ids": [0, 1, 0]}),
        [["x.x.", ".x..", "x.x.", "...."]],
    ),
    "documents, ids in a batch": (
        ("documents", {"ids": np.array([[4, 4, 0], [7, 2, 7]])}),
        [["xx.", "xx.", "..x"], ["x.x", ".x.", "x.x"]],
    ),
    "documents, offsets": (
        ("documents", {"cu_seqlens": [0, 2, 3]}),
        [["xx..", "xx..", "..x.", "...."]],
    ),
    "documents, offsets in a batch": (
        ("documents", {"cu_seqlens": [[0, 1, 3], [0, 2, 3]]}),
        [["x..", ".xx", ".xx"], ["xx.", "xx.", "..x"]],
    ),
    "spans": (
        ("spans", {"ids": [-1, 0, 0, -1, 1]}),
        [["......", ".xx...", ".xx...", "......", "....x.", "......"]],
    ),
    "spans in a batch": (
        ("spans", {"ids": [[0, -2, 0], [-1, 3, 3]]}),
        [["x.x", "...", "x.x"], ["...", ".xx", ".xx"]],
    ),
    "prefix_lm": (
        ("prefix_lm", {"lengths": [1, 2]}),
        [["x...", "xx..", "xxx."], ["xx..", "xx..", "xxx."]],
    ),
    "prefix_lm, one length": (("prefix_lm", {"lengths": 3}), [["xxx.", "xxx.", "xxx."]]),
    "seq2seq": (
        ("seq2seq", {"source_lengths": [0, 2]}),
        [["x...", "xx..", "xxx."], ["xx..", "xx..", "xxx."]],
    ),
    # Predicted first 2, then 0, then 1.
    "permutation, content": (
        ("permutation", {"order": [2, 0, 1], "stream": "content"}),
        [["x.x.", "xxx.", "..x.", "...."]],
    ),
    "permutation, query": (
        ("permutation", {"order": [2, 0, 1], "stream": "query"}),
        [["..x.", "x.x.", "....", "...."]],
    ),
    "permutation in a batch": (
        ("permutation", {"order": [[1, 0], [0, 1]]}),
        [["xx", ".x"], ["x.", "xx"]],
    ),
    "tree": (
        ("tree", {"parents": [-1, 0, 0, 2]}),
        [["x....", "xx...", "x.x..", "x.xx.", "....."]],
    ),
    "tree, two roots, children first": (
        ("tree", {"parents": [2, -1, -1, 0]}),
        [["x.x.", ".x..", "..x.", "x.xx"]],
    ),
    "tree in a batch": (
        ("tree", {"parents": [[-1, 0], [1, -1]]}),
        [["x.", "xx"], ["xx", ".x"]],
    ),
    "dense, attend": (
        (
            "dense",
            {"array": np.array([[True, False, True], [False, False, True]]), "means": "attend"},
        ),
        [["x.x", "..x"]],
    ),
    "dense, ignore": (
        ("dense", {"array": np.array([[1, 0, 1], [0, 0, 1]]), "means": "ignore"}),
        [[".x.", "xx."]],
    ),
    "dense, additive": (
        (
            "dense",
            {"array": np.array([[0.0, -np.inf, -1e4], [-1e9, -0.0, 0.0]]), "means": "additive"},
        ),
        [["x..", ".xx"]],
    ),
    "intervals": (
        ("intervals", {"start": [0, 1, 2], "end": [2, 3, 2]}),
        [["xx..", ".xx.", "....", "...."]],
    ),
    "intervals, two in a row": (
        ("intervals", {"start": [[0, 3], [1, 0]], "end": [[1, 5], [2, 0]]}),
        [["x..xx.", ".x....", "......"]],
    ),
    "intervals in a batch": (
        ("intervals", {"start": [[[0], [1]], [[2], [0]]], "end": [[[1], [3]], [[3], [2]]]}),
        [["x..", ".xx"], ["..x", "xx."]],
    ),
    "per_batch": (
        ("per_batch", {"masks": [CAUSAL, ("keys", {"positions": 1})]}),
        [["x..", "xx."], [".x.", ".x."]],
    ),
    "per_batch of one": (
        ("per_batch", {"masks": [("padding", {"lengths": [1, 2]})]}),
        [["x..", "x.."], ["xx.", "xx."]],
    ),
}


@pytest.mark.parametrize("name", DATA)
def test_data(name: str) -> None:
    spec, pictures = DATA[name]
    assert_batch_drawn(spec, *pictures)


def test_heads() -> None:
    assert_heads_drawn(
        ("per_head", {"masks": [CAUSAL, ("prefix", {"n": 1}), ("nothing", {})]}),
        ["x..", "xx."],
        ["x..", "x.."],
        ["...", "..."],
    )
    start = [[[[0], [1]], [[2], [0]], [[0], [0]]]]
    end = [[[[1], [3]], [[3], [2]], [[3], [0]]]]
    assert_heads_drawn(
        ("intervals", {"start": start, "end": end}), ["x..", ".xx"], ["..x", "xx."], ["xxx", "..."]
    )


def test_dense_of_four_axes_keeps_batch_and_heads_apart() -> None:
    array = np.zeros((2, 3, 1, 4), dtype=bool)
    array[1, 2, 0, 3] = True
    allowed = dense(("dense", {"array": array, "means": "attend"}), 1, 4)
    assert allowed.shape == (2, 3, 1, 4)
    assert np.argwhere(allowed).tolist() == [[1, 2, 0, 3]]


@pytest.mark.parametrize(
    ("q_len", "kv_len", "q_offset", "kv_offset"),
    [(3, 3, 0, 0), (2, 4, 0, 0), (1, 3, 2, 0), (2, 1, 0, 3)],
)
@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: ("not", s), lambda s: ("and", ("nothing", {}), s)]
)
def test_dense_says_nothing_beyond_its_array(
    wrap: Callable[[Any], Any], q_len: int, kv_len: int, q_offset: int, kv_offset: int
) -> None:
    spec = wrap(("dense", {"array": np.ones((2, 3), dtype=bool), "means": "attend"}))
    assert dense(spec, 2, 3).shape == (1, 1, 2, 3)
    with pytest.raises(ShapeMismatch, match=r"\[2, 3\]"):
        dense(spec, q_len, kv_len, q_offset, kv_offset)


@pytest.mark.parametrize("number", [1.0, -9999.0, np.nan, np.inf])
def test_dense_additive_refuses_other_numbers(number: float) -> None:
    spec = ("dense", {"array": np.array([[0.0, number]]), "means": "additive"})
    with pytest.raises(InvalidMask, match="additive"):
        dense(spec, 1, 2)


def test_tree_refuses_a_circle() -> None:
    with pytest.raises(InvalidMask, match="circle"):
        dense(("tree", {"parents": [1, 2, 0]}), 3)


def test_predicate() -> None:
    spec = ("predicate", {"fn": lambda b, h, q, k: (k + q) % 3 == 0, "bounds": None})
    assert_drawn(spec, ["..x.", ".x..", "x..x"], q_offset=1)


def test_predicate_of_batch_and_heads() -> None:
    spec = (
        "predicate",
        {"fn": lambda b, h, q, k: (k <= q + b) & (k != h), "batch": 2, "heads": 3},
    )
    allowed = dense(spec, 2, 4)
    assert allowed.shape == (2, 3, 2, 4)
    pictures = [[drawing(allowed[b, h]) for h in range(3)] for b in range(2)]
    assert pictures == [
        [["....", ".x.."], ["x...", "x..."], ["x...", "xx.."]],
        [[".x..", ".xx."], ["x...", "x.x."], ["xx..", "xx.."]],
    ]


@pytest.mark.parametrize(
    "fn",
    [
        lambda b, h, q, k: b == 0,
        lambda b, h, q, k: k <= q + b,
        lambda b, h, q, k: np.equal(k, b),
        lambda b, h, q, k: np.array([True])[h],
        lambda b, h, q, k: k < np.asarray(h),
    ],
)
def test_predicate_may_not_read_what_it_did_not_declare(fn: Callable[..., Any]) -> None:
    with pytest.raises(InvalidMask, match="without declaring"):
        dense(("predicate", {"fn": fn}), 2)


def test_the_comparison_can_fail() -> None:
    with pytest.raises(AssertionError):
        assert_batch_drawn(("padding", {"lengths": [1, 2]}), ["x."], ["x."])

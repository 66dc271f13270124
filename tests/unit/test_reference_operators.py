"""The oracle's operators, sizes and refusals, against drawings: x may attend, . may not.

Rows are queries, columns are keys. Nothing here is computed by the code under test.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sightline.errors import InvalidMask, ShapeMismatch
from sightline.reference import dense, sizes
from sightline.testing.drawings import Drawings, Rows, drawing

DRAWN = Drawings(dense)
assert_drawn = DRAWN.alone
assert_batch_drawn = DRAWN.per_batch


CAUSAL = ("causal", {})


COMPOUND: dict[str, tuple[Any, Rows, int, int]] = {
    "and": (("and", CAUSAL, ("window", {"left": 1})), ["x...", "xx..", ".xx."], 0, 0),
    "and of three": (
        ("and", CAUSAL, ("window", {"left": 1}), ("queries", {"positions": [2]})),
        ["....", ".xx."],
        1,
        0,
    ),
    "or": (("or", ("prefix", {"n": 1}), ("chunks", {"size": 2})), ["x.xx.", "x...x"], 3, 0),
    "not": (("not", CAUSAL), [".xxx", "..xx"], 0, 0),
    "not, beyond the data": (
        ("not", ("documents", {"lengths": [1, 1]})),
        [".xx", "x.x", "xxx"],
        0,
        0,
    ),
    "minus": (("minus", CAUSAL, ("prefix", {"n": 1})), ["....", ".x..", ".xx."], 0, 0),
    "minus is not symmetric": (("minus", ("prefix", {"n": 2}), CAUSAL), [".x..", "...."], 0, 0),
    "xor": (
        ("xor", ("prefix", {"n": 2}), CAUSAL),
        [".x...", ".....", "..x..", "..xx."],
        0,
        0,
    ),
    "transpose": (("transpose", CAUSAL), ["xxxx", ".xxx", "..xx"], 0, 0),
    "transpose, offset": (
        ("transpose", ("and", CAUSAL, ("keys", {"positions": [1, 4]}))),
        [".xxxx", ".....", ".....", "....x", "....."],
        1,
        0,
    ),
    # Causal moved 1 down: row 0 is uncovered.
    "shift down": (("shift", CAUSAL, {"query": 1, "key": 0}), ["....", "x...", "xx.."], 0, 0),
    # ... and 1 to the right: column 0 is uncovered.
    "shift right": (("shift", CAUSAL, {"query": 0, "key": 1}), [".x..", ".xx.", ".xxx"], 0, 0),
    "shift both": (
        ("shift", ("everything", {}), {"query": 1, "key": 2}),
        [".....", "..xxx", "..xxx"],
        0,
        0,
    ),
    "shift up and left": (
        ("shift", CAUSAL, {"query": -2, "key": -1}),
        ["xx...", "xxx.."],
        0,
        0,
    ),
    "not of a shift": (
        ("not", ("shift", ("everything", {}), {"query": 1, "key": 1})),
        ["xxx", "x..", "x.."],
        0,
        0,
    ),
    "shift asks a dense part only for what it says": (
        (
            "shift",
            ("dense", {"array": np.eye(2, dtype=bool), "means": "attend"}),
            {"query": 1, "key": 2},
        ),
        ["....", "..x.", "...x"],
        0,
        0,
    ),
    "xor of parts that agree": (("xor", CAUSAL, CAUSAL), ["...", "..."], 1, 0),
}


@pytest.mark.parametrize("name", COMPOUND)
def test_compound(name: str) -> None:
    spec, rows, q_offset, kv_offset = COMPOUND[name]
    assert_drawn(spec, rows, q_offset, kv_offset)


def test_batch_and_heads_meet_in_a_compound() -> None:
    by_head = ("per_head", {"masks": [CAUSAL, ("prefix", {"n": 1}), ("everything", {})]})
    spec = ("and", ("padding", {"lengths": [1, 2]}), by_head)
    assert sizes(spec) == (2, 3)
    allowed = dense(spec, 2, 4)
    assert [[drawing(allowed[b, h]) for h in range(3)] for b in range(2)] == [
        [["x...", "x..."], ["x...", "x..."], ["x...", "x..."]],
        [["x...", "xx.."], ["x...", "x..."], ["xx..", "xx.."]],
    ]


def test_per_head_of_parts_with_a_batch_and_per_batch_of_parts_with_heads() -> None:
    by_batch = ("padding", {"lengths": [1, 2]})
    allowed = dense(("per_head", {"masks": [by_batch, CAUSAL, ("nothing", {})]}), 1, 3)
    wanted = [["x..", "x..", "..."], ["xx.", "x..", "..."]]
    assert [drawing(allowed[b, :, 0]) for b in range(2)] == wanted
    by_head = ("per_head", {"masks": [CAUSAL, ("keys", {"positions": 2}), ("everything", {})]})
    allowed = dense(("per_batch", {"masks": [by_head, ("prefix", {"n": 2})]}), 1, 3)
    wanted = [["x..", "..x", "xxx"], ["xx.", "xx.", "xx."]]
    assert [drawing(allowed[b, :, 0]) for b in range(2)] == wanted


def test_transpose_of_padding_is_the_query_mask() -> None:
    spec = ("transpose", ("padding", {"lengths": [1, 2]}))
    assert_batch_drawn(spec, ["xx", "..", ".."], ["xx", "xx", ".."])


ONE = ("padding", {"lengths": [1]})
TWO = ("padding", {"lengths": [1, 2]})
THREE = ("spans", {"ids": [[0], [0], [0]]})


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        (CAUSAL, (1, 1)),
        (ONE, (1, 1)),
        (("padding", {"lengths": 3}), (1, 1)),
        (TWO, (2, 1)),
        (("and", CAUSAL, ("not", THREE), ONE), (3, 1)),
        (("transpose", ("shift", TWO, {"query": 1, "key": 0})), (2, 1)),
        (("per_head", {"masks": [TWO, CAUSAL, ONE]}), (2, 3)),
        (("per_batch", {"masks": [("per_head", {"masks": [CAUSAL] * 4})] * 3}), (3, 4)),
        (("per_head", {"masks": [THREE]}), (3, 1)),
        (("intervals", {"start": [[[0]], [[1]]], "end": [[[1]], [[1]]]}), (2, 1)),
        (("predicate", {"fn": min, "heads": 5}), (1, 5)),
    ],
)
def test_sizes(spec: Any, wanted: tuple[int, int]) -> None:
    assert sizes(spec) == wanted
    if spec[0] != "predicate":
        assert dense(spec, 1, 1).shape == (*wanted, 1, 1)


@pytest.mark.parametrize(
    "spec",
    [
        ("and", TWO, THREE),
        ("minus", TWO, THREE),
        ("per_head", {"masks": [TWO, THREE]}),
        ("per_batch", {"masks": [TWO, CAUSAL]}),
        ("per_head", {"masks": [("per_head", {"masks": [CAUSAL] * 2})] * 3}),
        ("or", ("predicate", {"fn": min, "heads": 5}), ("per_head", {"masks": [CAUSAL] * 2})),
    ],
)
def test_sizes_that_do_not_broadcast(spec: Any) -> None:
    with pytest.raises(ShapeMismatch, match="wanted"):
        sizes(spec)


def test_an_object_with_a_spec_also_inside_a_spec() -> None:
    class Thing:
        def spec(self) -> Any:
            return CAUSAL

    assert_drawn(Thing(), ["x..", "xx."])
    assert_drawn(("not", Thing()), [".xx", "..x"])


def test_kv_len_defaults_to_q_len_and_sizes_may_be_zero() -> None:
    assert dense(CAUSAL, 3).shape == (1, 1, 3, 3)
    assert dense(TWO, 0, 3).shape == (2, 1, 0, 3)
    assert dense(TWO, 3, 0).shape == (2, 1, 3, 0)


@pytest.mark.parametrize("name", ["q_len", "kv_len", "q_offset", "kv_offset"])
def test_negative_sizes(name: str) -> None:
    with pytest.raises(ShapeMismatch, match=f"{name}=-1"):
        dense(CAUSAL, **{"q_len": 2, name: -1})


def test_unknown_name() -> None:
    with pytest.raises(InvalidMask, match="casual"):
        dense(("and", CAUSAL, ("casual", {})), 2)

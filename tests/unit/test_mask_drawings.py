"""Every mask against drawings made by hand from its definition: x may attend, . may not.

Rows are queries, columns are keys; nothing here is computed by the code under test. The oracle
has drawings of its own, so that the two cannot be wrong in the same way.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import sightline as sl
from sightline.testing.drawings import Drawings, Rows, drawing

DRAWN = Drawings(lambda mask, *at: mask.dense(*at))
assert_drawn = DRAWN.alone
assert_rows_drawn = DRAWN.per_batch

Make = Callable[[], sl.Mask]


FORMULAS: dict[str, tuple[Make, Rows]] = {
    "everything": (sl.everything, ["xxx", "xxx"]),
    "nothing": (sl.nothing, ["...", "..."]),
    "causal": (sl.causal, ["x...", "xx..", "xxx."]),
    "causal, strict": (lambda: sl.causal(strict=True), ["....", "x...", "xx.."]),
    "window, left": (lambda: sl.window(left=2), ["xxxxx", "xxxxx", "xxxxx", ".xxxx"]),
    "window, right": (lambda: sl.window(right=1), ["xx...", "xxx..", "xxxx."]),
    "window, both": (lambda: sl.window(1, 2), ["xxx...", "xxxx..", ".xxxx.", "..xxxx"]),
    "window, itself": (lambda: sl.window(0, 0), ["x..", ".x.", "..x"]),
    "sinks": (lambda: sl.sinks(1), ["x..", "x.."]),
    "keys": (lambda: sl.keys([3, 0, 3]), ["x..x.", "x..x."]),
    "keys, one": (lambda: sl.keys(2), ["..x.", "..x."]),
    "keys, open slice": (lambda: sl.keys(slice(1, None)), [".xxx", ".xxx"]),
    "keys, stepped slice": (lambda: sl.keys(slice(None, 5, 2)), ["x.x.x.", "x.x.x."]),
    "keys, falling range": (lambda: sl.keys(range(5, 0, -2)), [".x.x.x.", ".x.x.x."]),
    "queries": (lambda: sl.queries([1]), ["..", "xx", ".."]),
    "queries, slice": (lambda: sl.queries(slice(2, None)), ["...", "...", "xxx"]),
    "chunks": (lambda: sl.chunks(2), ["xx...", "xx...", "..xx."]),
    "block_causal": (lambda: sl.block_causal(2), ["xx...", "xx...", "xxxx."]),
    "dilated": (lambda: sl.dilated(3), ["x..x..x", ".x..x..", "..x..x."]),
    "dilated, phase": (lambda: sl.dilated(3, phase=1), ["..x..x.", "x..x..x"]),
    "dilated, negative phase": (lambda: sl.dilated(3, phase=-1), [".x..x..", "..x..x."]),
    "strided, beginning": (lambda: sl.strided(3), ["x...", "xx..", "xxx.", "xxxx"]),
    "fixed, beginning": (
        lambda: sl.fixed(4, 2),
        ["x.....", "xx....", "xxx...", "xxxx..", "..xxx."],
    ),
    "log_sparse, beginning": (sl.log_sparse, ["x....", "xx...", "xxx..", ".xxx.", "x.xxx"]),
    "random_blocks, few rows": (
        lambda: sl.random_blocks(2, 2, seed=3),
        ["xx....", "xx....", "xxxx..", "xxxx.."],
    ),
    # Noised blocks 0-2 and 3, then clean blocks 4-6 and 7; position 8 is outside.
    "block_diffusion": (
        lambda: sl.block_diffusion(length=4, block=3),
        [
            "xxx......",
            "xxx......",
            "xxx......",
            "...xxxx..",
            "....xxx..",
            "....xxx..",
            "....xxx..",
            "....xxxx.",
            ".........",
        ],
    ),
    "neighborhood": (
        lambda: sl.neighborhood((5,), 3),
        ["xxx...", "xxx...", ".xxx..", "..xxx.", "..xxx.", "......"],
    ),
    "neighborhood, even": (
        lambda: sl.neighborhood((6,), 4),
        ["xxxx..", "xxxx..", "xxxx..", ".xxxx.", "..xxxx", "..xxxx"],
    ),
    "neighborhood, kernel 2": (lambda: sl.neighborhood((4,), 2), ["xx..", "xx..", ".xx.", "..xx"]),
    # Dilation 3 on 7 tokens: the groups 0 3 6, 1 4 and 2 5.
    "neighborhood, dilated": (
        lambda: sl.neighborhood((7,), 2, dilation=3),
        ["x..x...", ".x..x..", "..x..x.", "x..x...", ".x..x..", "..x..x.", "...x..x"],
    ),
    # Dilation 2 on 7 tokens: the groups 0 2 4 6 and 1 3 5.
    "neighborhood, dilated, odd": (
        lambda: sl.neighborhood((7,), 3, dilation=2),
        ["x.x.x..", ".x.x.x.", "x.x.x..", ".x.x.x.", "..x.x.x", ".x.x.x.", "..x.x.x"],
    ),
    "prefix_lm": (lambda: sl.prefix_lm(2), ["xx..", "xx..", "xxx.", "xxxx"]),
    "documents, apart": (lambda: sl.documents(ids=[4, 0, 4]), ["x.x.", ".x..", "x.x.", "...."]),
    "documents, empty one": (
        lambda: sl.documents(lengths=[1, 0, 2]),
        ["x...", ".xx.", ".xx.", "...."],
    ),
    "documents, offsets": (
        lambda: sl.documents(cu_seqlens=[0, 2, 2, 3]),
        ["xx..", "xx..", "..x.", "...."],
    ),
    "spans": (
        lambda: sl.spans([-1, 1, 1, -3, 1]),
        ["......", ".xx.x.", ".xx.x.", "......", ".xx.x.", "......"],
    ),
    # Predicted in the order 1, 3, 0, 2.
    "permutation": (
        lambda: sl.permutation([1, 3, 0, 2]),
        ["xx.x.", ".x...", "xxxx.", ".x.x.", "....."],
    ),
    "permutation, query stream": (
        lambda: sl.permutation([1, 3, 0, 2], stream="query"),
        [".x.x.", ".....", "xx.x.", ".x...", "....."],
    ),
    # 2 is the root, 0 and 3 are its children, 1 is the child of 0.
    "tree, parents after children": (
        lambda: sl.tree([2, 0, -1, 2]),
        ["x.x..", "xxx..", "..x..", "..xx.", "....."],
    ),
    "tree, two roots": (lambda: sl.tree([-1, -1, 1]), ["x..", ".x.", ".xx"]),
    "dense, attend": (lambda: sl.dense([[1, 0], [0, 1]], "attend"), ["x.", ".x"]),
    "dense, ignore": (lambda: sl.dense([[True, False], [False, False]], "ignore"), [".x", "xx"]),
    "dense, additive": (
        lambda: sl.dense([[0.0, -np.inf, -1e4], [-1e9, -0.0, 0.0]], "additive"),
        ["x..", ".xx"],
    ),
    "intervals": (lambda: sl.intervals([0, 2, 1], [1, 4, 1]), ["x....", "..xx.", ".....", "....."]),
    "intervals, several": (
        lambda: sl.intervals([[3, 0], [1, 1], [4, 0]], [[4, 2], [1, 3], [5, 4]]),
        ["xx.x..", ".xx...", "xxxxx.", "......"],
    ),
    # Three intervals that overlap, nest and touch, out of order.
    "intervals, merging": (
        lambda: sl.intervals([[4, 0, 1], [2, 5, 0]], [[6, 4, 2], [3, 6, 1]]),
        ["xxxxxx.", "x.x..x."],
    ),
    "predicate": (lambda: sl.predicate(lambda b, h, q, k: q * k == 2), ["....", "..x.", ".x.."]),
}

# name: (mask, drawing, position of the first query, position of the first key)
PLACED: dict[str, tuple[Make, Rows, int, int]] = {
    "causal, offset": (sl.causal, ["xx..", "xxx."], 2, 1),
    "prefix": (lambda: sl.prefix(2), ["xx..", "xx.."], 7, 0),
    "chunks, offset": (lambda: sl.chunks(3), ["xxx....", "...xxx."], 2, 0),
    "strided": (lambda: sl.strided(2), ["x.xxx..", ".x.xxx.", "x.x.xxx"], 4, 0),
    "strided, far": (lambda: sl.strided(3), ["x..xxxx."], 6, 0),
    "fixed": (lambda: sl.fixed(3, 1), ["..xxx..", "..xxxx.", "..x..xx"], 4, 0),
    "log_sparse": (sl.log_sparse, [".x...x.xxx."], 9, 0),
    "log_sparse, local": (lambda: sl.log_sparse(local=3), [".x...xxxxx."], 9, 0),
    "log_sparse, restart": (
        lambda: sl.log_sparse(restart=4),
        ["....xxx..", ".....xxx.", "........x"],
        6,
        0,
    ),
    "log_sparse, both": (
        lambda: sl.log_sparse(local=3, restart=4),
        ["....xxxx.", "........x"],
        7,
        0,
    ),
    # sub_len 8 (L = 3), win_len 9: rows below 1 * 2 * 3 see their past; row 9 is outside.
    "log_sparse_row_mask": (
        lambda: sl.log_sparse_row_mask(8, 9),
        ["xxxxxx....", "x.xxxxx...", ".x.xxxxx..", "..x.xxxxx.", ".........."],
        5,
        0,
    ),
    # sub_len 5 (L = 3): the second anchor of row 6 is 1: it sees key 0 but not itself.
    "log_sparse_row_mask, cut anchor": (
        lambda: sl.log_sparse_row_mask(5, 9),
        ["xxxxxx....", "x.xxxxx...", "xxxxxxxx..", "xxxxxxxxx.", ".........."],
        5,
        0,
    ),
    # sub_len 4 (L = 2): rows from 1 * 2 * 2 on walk; the anchor 0 of row 4 sees nothing.
    "log_sparse_row_mask, short": (
        lambda: sl.log_sparse_row_mask(4, 6),
        ["xxxx...", ".xxxx..", "xxxxxx.", "......."],
        3,
        0,
    ),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_mask_as_drawn(name: str) -> None:
    make, rows = FORMULAS[name]
    assert_drawn(make(), rows)


@pytest.mark.parametrize("name", PLACED)
def test_mask_with_offsets_as_drawn(name: str) -> None:
    make, rows, q_offset, kv_offset = PLACED[name]
    assert_drawn(make(), rows, q_offset, kv_offset)


BATCHES: dict[str, tuple[Make, list[Rows]]] = {
    "padding": (lambda: sl.padding([1, 3]), [["x...", "x..."], ["xxx.", "xxx."]]),
    "padding, empty row": (lambda: sl.padding([0, 1]), [["..", ".."], ["x.", "x."]]),
    "padding, left": (
        lambda: sl.padding([1, 3], side="left"),
        [["..x.", "..x."], ["xxx.", "xxx."]],
    ),
    "padding, left of a total": (
        lambda: sl.padding([1, 0, 3], side="left", total=4),
        [["...x.", "...x."], [".....", "....."], [".xxx.", ".xxx."]],
    ),
    "padding, valid": (
        lambda: sl.padding(valid=[[1, 0, 1], [0, 0, 0], [0, 1, 1]]),
        [["x.x.", "x.x."], ["....", "...."], [".xx.", ".xx."]],
    ),
    "padding of queries": (lambda: sl.padding([1, 2]).T, [["xx", "..", ".."], ["xx", "xx", ".."]]),
    "documents, ragged": (
        lambda: sl.documents(lengths=[[1, 2], [2], []]),
        [["x..", ".xx", ".xx"], ["xx.", "xx.", "..."], ["...", "...", "..."]],
    ),
    "documents, offsets": (
        lambda: sl.documents(cu_seqlens=[[0, 1, 3], [0, 2, 2]]),
        [["x..", ".xx", ".xx"], ["xx.", "xx.", "..."]],
    ),
    "spans": (
        lambda: sl.spans([[0, 0, -1], [1, 0, 1]]),
        [["xx.", "xx.", "..."], ["x.x", ".x.", "x.x"]],
    ),
    "prefix_lm": (
        lambda: sl.prefix_lm([0, 3]),
        [["x...", "xx..", "xxx."], ["xxx.", "xxx.", "xxx."]],
    ),
    "seq2seq": (lambda: sl.seq2seq([1, 2]), [["x..", "xx."], ["xx.", "xx."]]),
    "permutation": (
        lambda: sl.permutation([[0, 1], [1, 0]]),
        [["x..", "xx.", "..."], ["xx.", ".x.", "..."]],
    ),
    "tree": (
        lambda: sl.tree([[-1, 0, 1], [1, 2, -1]]),
        [["x..", "xx.", "xxx"], ["xxx", ".xx", "..x"]],
    ),
    "per_batch": (
        lambda: sl.per_batch([sl.causal(), sl.prefix(1), sl.nothing()]),
        [["x.", "xx"], ["x.", "x."], ["..", ".."]],
    ),
    "intervals": (
        lambda: sl.intervals([[[0], [1]], [[2], [0]]], [[[1], [3]], [[2], [2]]]),
        [["x..", ".xx", "..."], ["...", "xx.", "..."]],
    ),
    "dense": (
        lambda: sl.dense([[[[1, 0]]], [[[0, 1]]]], "attend"),
        [["x."], [".x"]],
    ),
    "predicate": (
        lambda: sl.predicate(lambda b, h, q, k: k == q + b, batch=2),
        [["x..", ".x."], [".x.", "..x"]],
    ),
}


@pytest.mark.parametrize("name", BATCHES)
def test_mask_of_batch_rows_as_drawn(name: str) -> None:
    make, pictures = BATCHES[name]
    assert_rows_drawn(make(), *pictures)


def test_masks_of_heads_as_drawn() -> None:
    heads = sl.per_head([sl.causal(), sl.window(0, 0), sl.prefix(1)]).dense(2, 3)
    assert heads.shape == (1, 3, 2, 3)
    assert [drawing(each) for each in heads[0]] == [["x..", "xx."], ["x..", ".x."], ["x..", "x.."]]
    spoken = sl.predicate(lambda b, h, q, k: k == h, heads=2).dense(1, 3)
    assert [drawing(each) for each in spoken[0]] == [["x.."], [".x."]]
    stretches = sl.intervals([[[[0]], [[1]]]], [[[[1]], [[3]]]]).dense(2, 3)
    assert stretches.shape == (1, 2, 2, 3)
    assert [drawing(each) for each in stretches[0]] == [["x..", "..."], [".xx", "..."]]


def test_a_dense_mask_of_rows_and_heads_as_drawn() -> None:
    # [batch 2, heads 3, 1 query, 3 keys]: row b, head h sees key (b + h) mod 3.
    array = [
        [[["x.."], [".x."], ["..x"]][h] for h in range(3)],
        [[[".x."], ["..x"], ["x.."]][h] for h in range(3)],
    ]
    bits = [[[[c == "x" for c in row] for row in head] for head in heads] for heads in array]
    allowed = sl.dense(bits, "attend").dense(1, 3)
    assert [[drawing(head) for head in heads] for heads in allowed] == array


def test_random_blocks_are_drawn_the_same_in_every_version() -> None:
    # Worked out from the definition (31-bit mixing, Floyd's sampling) apart from this code.
    assert_drawn(sl.random_blocks(block=1, per_row=2, seed=5), RANDOM_BLOCKS)


RANDOM_BLOCKS = [
    "x.......",
    "xx......",
    "x.x.....",
    ".x.x....",
    "..xx....",
    "xx......",
    "xx......",
    ".xx.....",
]

# -- operators ---------------------------------------------------------------------------------

OPERATORS: dict[str, tuple[Make, Rows]] = {
    "and": (lambda: sl.causal() & sl.window(left=1), ["x..", "xx.", ".xx"]),
    "or": (lambda: sl.causal() | sl.prefix(2), ["xx.", "xx.", "xxx"]),
    "minus": (lambda: sl.causal() - sl.prefix(1), ["...", ".x.", ".xx"]),
    "xor": (lambda: sl.causal() ^ sl.prefix(2), [".x.", "...", "..x"]),
    "not": (lambda: ~sl.causal(), [".xx", "..x", "..."]),
    "not a window": (lambda: ~sl.window(1, 1), ["..xx", "...x", "x...", "xx.."]),
    "not, beyond the data": (lambda: ~sl.documents(lengths=[1, 1]), [".xx", "x.x", "xxx"]),
    "transpose": (lambda: sl.prefix_lm(1).T, ["xxx", ".xx", "..x"]),
    "shift down": (lambda: sl.causal().shift(query=1), ["...", "x..", "xx."]),
    "shift up": (lambda: sl.causal().shift(query=-1), ["xx.", "xxx", "xxx"]),
    "shift right": (lambda: sl.causal().shift(key=1), [".x.", ".xx", ".xx"]),
    "shift left": (lambda: sl.causal().shift(key=-1), ["...", "x..", "xx."]),
    "shift of a complement": (lambda: (~sl.causal()).shift(query=1), ["...", ".xx", "..x"]),
    "complement of a shift": (lambda: ~sl.causal().shift(query=1), ["xxx", ".xx", "..x"]),
    "shift up and down": (
        lambda: sl.chunks(2).shift(query=-1).shift(query=1),
        ["...", "xx.", "..x"],
    ),
    "shift of everything": (lambda: sl.everything().shift(query=1, key=2), ["...", "..x", "..x"]),
    "shift of keys": (lambda: sl.keys([0, 2]).shift(key=1), [".x.", ".x.", ".x."]),
    "shift of keys to the left": (lambda: sl.keys([0, 2]).shift(key=-1), [".x.", ".x.", ".x."]),
    "shift of queries": (lambda: sl.queries([0]).shift(query=1, key=1), ["...", ".xx", "..."]),
    "shift of a dilated": (lambda: sl.dilated(2).shift(key=1), [".x.", "..x", ".x."]),
    "transpose of a shift": (lambda: sl.block_causal(2).shift(query=1).T, [".xx", ".xx", "..."]),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_operator_as_drawn(name: str) -> None:
    make, rows = OPERATORS[name]
    assert_drawn(make(), rows)


def test_a_packed_and_padded_language_model_batch_as_drawn() -> None:
    mask = sl.causal() & sl.documents(lengths=[[2, 2], [3]]) & sl.padding([4, 2])
    assert_rows_drawn(mask, ["x...", "xx..", "..x.", "..xx"], ["x...", "xx..", "xx..", "...."])


def test_a_streaming_decoder_as_drawn() -> None:
    mask = sl.causal() & (sl.window(left=1) | sl.sinks(1))
    assert_drawn(mask, ["x....", "xx...", "xxx..", "x.xx.", "x..xx"])
    assert_drawn(mask, ["x..xx."], q_offset=4)

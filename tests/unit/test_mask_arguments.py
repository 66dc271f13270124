"""Bad input to masks: each gets its kind of error, and a message with got, wanted and a fix.

One row a mistake: what is called, the kind of error, and what the message must contain.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import sightline as sl

Bad = tuple[Callable[[], Any], str]


def refused(
    call: Callable[[], Any], fragments: str, kind: type[Exception] = sl.InvalidMask
) -> None:
    """The call raises exactly this kind; the message holds every fragment, in this order."""
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    message, at = str(caught.value), 0
    for fragment in fragments.split(" .. "):
        assert fragment in message[at:], f"{fragment!r} is missing in: {message}"
        at = message.index(fragment, at) + len(fragment)
    assert message.endswith(".")


FORMULAS: dict[str, Bad] = {
    "causal(1)": (lambda: sl.causal(strict=1), "causal(strict=) .. True or False .. got 1 (int)"),
    "causal('no')": (lambda: sl.causal("no"), "causal(strict=) .. got 'no' (str)"),
    "window, negative": (
        lambda: sl.window(left=-1),
        "window(left=) must be at least 0, got -1. .. None for unbounded",
    ),
    "window, right": (lambda: sl.window(right=-3), "window(right=) .. at least 0, got -3 .. None"),
    "window, bool": (lambda: sl.window(True), "window(left=) must be an integer, got True (bool)"),
    "window, float": (lambda: sl.window(right=1.5), "window(right=) .. integer, got 1.5 (float)"),
    "prefix, negative": (lambda: sl.prefix(-1), "prefix(n=) must be at least 0, got -1"),
    "prefix, float": (lambda: sl.prefix(2.0), "prefix(n=) must be an integer, got 2.0 (float)"),
    "prefix, huge": (lambda: sl.prefix(2**48 + 1), f"at most {2**48}, got {2**48 + 1}"),
    "sinks, negative": (lambda: sl.sinks(-2), "sinks(n=) must be at least 0, got -2"),
    "sinks, none": (lambda: sl.sinks(None), "sinks(n=) must be an integer, got None"),
    "chunks, zero": (lambda: sl.chunks(0), "chunks(size=) must be at least 1, got 0"),
    "chunks, bool": (lambda: sl.chunks(True), "chunks(size=) .. integer, got True (bool)"),
    "chunks, numpy bool": (lambda: sl.chunks(np.True_), "chunks(size=) must be an integer"),
    "chunks, text": (lambda: sl.chunks("3"), "chunks(size=) .. integer, got '3' (str)"),
    "chunks, list": (lambda: sl.chunks([3]), "chunks(size=) .. integer, got [3] (list)"),
    "chunks, array": (lambda: sl.chunks(np.array([3])), "integer, got ndarray of shape [1]"),
    "chunks, unprintable": (lambda: sl.chunks(1 << 20000), f"at most {2**48}, got .. 20001 bits"),
    "chunks, 64 bits": (lambda: sl.chunks(2**63), f"at most {2**48}, got one of 64 bits"),
    "chunks, 63 bits": (lambda: sl.chunks(2**63 - 1), f"at most {2**48}, got {2**63 - 1}"),
    "block_causal, zero": (lambda: sl.block_causal(0), "block_causal(size=) .. at least 1, got 0"),
    "dilated, zero": (lambda: sl.dilated(0), "dilated(stride=) must be at least 1, got 0"),
    "dilated, phase": (lambda: sl.dilated(2, 0.5), "dilated(phase=) .. integer, got 0.5 (float)"),
    "strided, zero": (lambda: sl.strided(0), "strided(stride=) must be at least 1, got 0"),
    "fixed, zero": (lambda: sl.fixed(0, 1), "fixed(stride=) must be at least 1, got 0"),
    "fixed, no summary": (lambda: sl.fixed(3, 0), "fixed(summary=) must be from 1 to 3, got 0"),
    "fixed, too much": (lambda: sl.fixed(3, 4), "fixed(summary=) must be from 1 to 3, got 4"),
    "log_sparse, local": (lambda: sl.log_sparse(-1), "log_sparse(local=) .. at least 0, got -1"),
    "log_sparse, restart": (
        lambda: sl.log_sparse(restart=0),
        "log_sparse(restart=) must be at least 1, got 0",
    ),
    "log_sparse_row_mask, sub_len": (
        lambda: sl.log_sparse_row_mask(1, 5),
        "log_sparse_row_mask(sub_len=) must be at least 2, got 1",
    ),
    "log_sparse_row_mask, win_len": (
        lambda: sl.log_sparse_row_mask(4, 0),
        "log_sparse_row_mask(win_len=) must be at least 1, got 0",
    ),
    "random_blocks, block": (
        lambda: sl.random_blocks(0, 1),
        "random_blocks(block=) must be at least 1, got 0",
    ),
    "random_blocks, none": (
        lambda: sl.random_blocks(1, 0),
        "random_blocks(per_row=) must be from 1 to 4096, got 0",
    ),
    "random_blocks, many": (lambda: sl.random_blocks(1, 4097), "from 1 to 4096, got 4097"),
    "random_blocks, negative seed": (
        lambda: sl.random_blocks(1, 1, -1),
        f"random_blocks(seed=) must be from 0 to {2**31 - 1}, got -1",
    ),
    "random_blocks, large seed": (
        lambda: sl.random_blocks(1, 1, 2**31),
        f"from 0 to {2**31 - 1}, got {2**31}",
    ),
    "block_diffusion, length": (
        lambda: sl.block_diffusion(0, 1),
        "block_diffusion(length=) must be at least 1, got 0",
    ),
    "block_diffusion, block": (
        lambda: sl.block_diffusion(4, 0),
        "block_diffusion(block=) must be at least 1, got 0",
    ),
    "block_diffusion, too large": (
        lambda: sl.block_diffusion(4, 5),
        "block_diffusion(block=) must be at most length=4, got 5 .. block=4",
    ),
    "shift, float": (lambda: sl.causal().shift(query=1.5), "shift(query=) .. got 1.5 (float)"),
    "shift, text": (lambda: sl.causal().shift(key="1"), "shift(key=) .. integer, got '1' (str)"),
    "shift, bool": (lambda: sl.causal().shift(True), "shift(query=) .. got True (bool)"),
    "shift, far": (lambda: sl.causal().shift(key=2**49), f"shift(key=) .. at most {2**48}, got"),
    "shift, far back": (lambda: sl.causal().shift(key=-(2**49)), f"at least -{2**48}, got"),
}

POSITIONS: dict[str, Bad] = {
    "negative": (lambda: sl.keys(-1), "keys(positions=) must be at least 0, got -1"),
    "negative in a list": (lambda: sl.keys([0, -2]), "must be at least 0, got -2"),
    "queries": (lambda: sl.queries([0, -2]), "queries(positions=) must be at least 0, got -2"),
    "float": (lambda: sl.keys(1.5), "must hold integers, got float64 (1.5 (float))"),
    "floats": (lambda: sl.keys([1.0]), "must hold integers, got float64 ([1.0] (list))"),
    "bool": (lambda: sl.keys(True), "must hold integers, got bool"),
    "bools": (lambda: sl.keys([True, False]), "must hold integers, got bool ([True, False]"),
    "text": (lambda: sl.keys("abc"), "must hold numbers, got 'abc' (str)"),
    "none": (lambda: sl.keys(None), "must hold numbers, got None"),
    "none in a list": (lambda: sl.keys([None]), "must hold numbers, got [None] (list)"),
    "dict": (lambda: sl.keys({1: 2}), "must hold numbers, got {1: 2} (dict)"),
    "complex": (lambda: sl.keys(1j), "must hold numbers, got 1j (complex)"),
    "mixed set": (lambda: sl.keys({1, "a"}), "must hold numbers, got"),
    "two dimensions": (lambda: sl.keys([[1]]), "must have 0 or 1 dimensions, got shape [1, 1]"),
    "ragged": (lambda: sl.keys([[1], [2, 3]]), "as an array, got [[1], [2, 3]] .. equal length"),
    "beyond int64": (lambda: sl.keys([2**70]), f"keys(positions=) .. beyond {2**48}"),
    "beyond all sense": (lambda: sl.keys(2**49), f"must be at most {2**48}, got {2**49}"),
    "unsigned": (lambda: sl.keys(np.array([2**63], dtype=np.uint64)), f"at most {2**48}, got"),
    "slice, endless with step": (
        lambda: sl.keys(slice(1, None, 2)),
        "endless slice with step 2; give it a stop",
    ),
    "slice, negative start": (lambda: sl.keys(slice(-1, None)), "start must be at least 0, got -1"),
    "slice, negative stop": (lambda: sl.keys(slice(0, -1)), "stop must be at least 0, got -1"),
    "slice, no step": (lambda: sl.keys(slice(0, 5, 0)), "step must be at least 1, got 0"),
    "slice, backwards": (lambda: sl.keys(slice(5, 0, -1)), "step must be at least 1, got -1"),
    "slice, float": (lambda: sl.keys(slice(0.5, 2)), "start must be an integer, got 0.5 (float)"),
    "range, below zero": (lambda: sl.keys(range(-2, 3)), "at least 0, got range(-2, 3)"),
    "range, stepping below zero": (
        lambda: sl.keys(range(-4, 3, 2)),
        "at least 0, got range(-4, 3, 2)",
    ),
    "range, ending below zero": (
        lambda: sl.keys(range(2, -3, -1)),
        "at least 0, got range(2, -3, -1)",
    ),
    "range, without end": (lambda: sl.keys(range(2**70)), f"at most {2**48}, got one of 71 bits"),
    "range, of too many": (
        lambda: sl.keys(range(0, 10**12, 2)),
        f"lists {10**12 // 2} single positions, more than {2**24} .. dilated",
    ),
    "slice, of too many": (lambda: sl.keys(slice(0, 2**40, 2)), f"lists {2**39} single positions"),
}

GRIDS: dict[str, Bad] = {
    "grid, a number": (
        lambda: sl.shifted_window(8, 2, 1),
        "shifted_window(grid=) must be a tuple of sizes such as (8, 8), got 8 (int)",
    ),
    "grid, text": (lambda: sl.axial("23", 0), "axial(grid=) must be a tuple of sizes .. got '23'"),
    "grid, an array of one": (lambda: sl.axial(np.array(2), 0), "tuple of sizes .. of shape []"),
    "grid, one axis": (
        lambda: sl.shifted_window((8,), 2, 1),
        "shifted_window(grid=) must have 2 to 3 axes, got 1",
    ),
    "grid, four axes": (lambda: sl.shifted_window((8,) * 4, 2, 1), "2 to 3 axes, got 4"),
    "grid, no axis": (
        lambda: sl.neighborhood((), 1),
        "neighborhood(grid=) must have 1 to 3 axes, got 0",
    ),
    "grid, too many axes": (lambda: sl.axial((1,) * 4, 0), "axial(grid=) .. 1 to 3 axes, got 4"),
    "grid, an empty axis": (
        lambda: sl.shifted_window((8, 0), 2, 1),
        "shifted_window(grid=)[1] must be at least 1, got 0",
    ),
    "grid, a bool": (lambda: sl.axial((8, True), 1), "axial(grid=)[1] .. integer, got True"),
    "grid, nested": (lambda: sl.axial(((4, 4), (4, 4)), 0), "axial(grid=)[0] .. got (4, 4)"),
    "grid, ragged": (lambda: sl.axial(((2, 3), 4), 0), "axial(grid="),
    "grid, too many cells": (
        lambda: sl.axial((2**30, 2**30), 0),
        f"number of cells of axial(grid=) must be at most {2**48}, got {2**60}",
    ),
    "window, zero": (
        lambda: sl.shifted_window((8, 8), 0, 0),
        "shifted_window(window=) must be at least 1, got 0",
    ),
    "window, float": (
        lambda: sl.shifted_window((8, 8), 2.0, 1),
        "shifted_window(window=) must be an integer, got 2.0",
    ),
    "window, of other axes": (
        lambda: sl.shifted_window((8, 8), (2, 2, 2), 1),
        "shifted_window(window=) .. one integer or 2 .. got 3: [2, 2, 2]",
    ),
    "window, ragged": (lambda: sl.shifted_window((4, 4), [1, [2]], 0), "shifted_window(window="),
    "window, zero on an axis": (
        lambda: sl.shifted_window((8, 8), (2, 0), 0),
        "shifted_window(window=)[1] must be at least 1, got 0",
    ),
    "shift, as large as the window": (
        lambda: sl.shifted_window((8, 8), 2, 2),
        "shifted_window(shift=) must be less than the window 2, got 2",
    ),
    "shift, on one axis": (
        lambda: sl.shifted_window((8, 8), (4, 3), 3),
        "less than the window 3, got 3",
    ),
    "shift, negative": (
        lambda: sl.shifted_window((8, 8), 2, -1),
        "shifted_window(shift=) must be at least 0, got -1",
    ),
    "kernel, zero": (
        lambda: sl.neighborhood((5,), 0),
        "neighborhood(kernel=) must be at least 1, got 0",
    ),
    "kernel, of other axes": (
        lambda: sl.neighborhood((5, 5), (3,)),
        "neighborhood(kernel=) .. one integer or 2 .. got 1",
    ),
    "kernel, larger than the grid": (
        lambda: sl.neighborhood((5,), 6),
        "kernel * dilation <= the grid .. got 6 * 1 on an axis of 5 .. smaller kernel",
    ),
    "kernel, dilated beyond the grid": (
        lambda: sl.neighborhood((9, 5), 3, 2),
        "got 3 * 2 on an axis of 5 .. smaller kernel or dilation",
    ),
    "dilation, zero": (
        lambda: sl.neighborhood((5,), 1, 0),
        "neighborhood(dilation=) must be at least 1, got 0",
    ),
    "axis, too large": (lambda: sl.axial((2, 3), 2), "axial(axis=) must be from -2 to 1, got 2"),
    "axis, too small": (lambda: sl.axial((2, 3), -3), "axial(axis=) must be from -2 to 1, got -3"),
    "axis, float": (lambda: sl.axial((2, 3), 1.0), "axial(axis=) must be an integer, got 1.0"),
}

DATA: dict[str, Bad] = {
    "padding, nothing": (lambda: sl.padding(), "either lengths= or valid=, exactly one"),
    "padding, both": (lambda: sl.padding([1], valid=[[1]]), "either lengths= or valid="),
    "padding, negative": (lambda: sl.padding([2, -1]), "padding(lengths=) .. at least 0, got -1"),
    "padding, float": (
        lambda: sl.padding([1.5]),
        "padding(lengths=) must hold integers, got float",
    ),
    "padding, bool": (lambda: sl.padding([True]), "must hold integers, got bool"),
    "padding, empty": (lambda: sl.padding([]), "padding(lengths=) is empty; .. each batch row"),
    "padding, two axes": (lambda: sl.padding([[1, 2]]), "0 or 1 dimensions, got shape [1, 2]"),
    "padding, ragged": (lambda: sl.padding([[1], [1, 2]]), "got [[1], [1, 2]] .. equal length"),
    "padding, text": (lambda: sl.padding("ab"), "must hold numbers, got 'ab'"),
    "padding, huge": (lambda: sl.padding(2**60), f"at most {2**48}, got {2**60}"),
    "padding, beyond total": (
        lambda: sl.padding([3, 5], total=4),
        "padding(lengths=) reach 5, beyond total=4; raise total or cut",
    ),
    "padding, beyond total on the left": (
        lambda: sl.padding([5], side="left", total=4),
        "reach 5, beyond total=4",
    ),
    "padding, negative total": (lambda: sl.padding([0], total=-1), "padding(total=) .. got -1"),
    "padding, float total": (lambda: sl.padding([3], total=4.0), "padding(total=) .. got 4.0"),
    "padding, side": (
        lambda: sl.padding([3], side="top"),
        "padding(side=) must be 'right' or 'left', got 'top'",
    ),
    "padding, side of an array": (
        lambda: sl.padding([3], side=np.array(["left", "left"])),
        "'right' or 'left', got ndarray of shape [2]",
    ),
    "padding, valid of counts": (
        lambda: sl.padding(valid=[[1, 2]]),
        "padding(valid=) must hold bools, or 0 and 1 only, got 2 (int64)",
    ),
    "padding, valid of nan": (lambda: sl.padding(valid=[[np.nan]]), "0 and 1 only, got nan"),
    "padding, valid of one": (lambda: sl.padding(valid=1), "1 or 2 dimensions, got shape []"),
    "padding, valid of 3 axes": (
        lambda: sl.padding(valid=np.ones((1, 1, 4))),
        "1 or 2 dimensions, got shape [1, 1, 4]",
    ),
    "padding, valid of nothing": (lambda: sl.padding(valid=[[]]), "is empty (shape [1, 0])"),
    "padding, valid and side": (
        lambda: sl.padding(valid=[[1]], side="left"),
        "already says where; drop side= and total=",
    ),
    "padding, valid and total": (lambda: sl.padding(valid=[[1]], total=3), "drop side= and total="),
    "documents, nothing": (
        lambda: sl.documents(),
        "exactly one of lengths=, ids= and cu_seqlens=, got 0",
    ),
    "documents, two": (lambda: sl.documents([1], ids=[1]), "exactly one of .. got 2"),
    "documents, three": (lambda: sl.documents([1], [1], [0, 1]), "exactly one of .. got 3"),
    "documents, negative": (lambda: sl.documents([-1]), "documents(lengths=) .. got -1"),
    "documents, negative in row 1": (
        lambda: sl.documents([[1], [2, -1]]),
        "documents(lengths=)[1] must be at least 0, got -1",
    ),
    "documents, float": (lambda: sl.documents([1.0]), "must hold integers, got float64"),
    "documents, float in row 1": (
        lambda: sl.documents([[1], [1.5]]),
        "documents(lengths=)[1] must hold integers, got float64",
    ),
    "documents, a number among rows": (
        lambda: sl.documents([[1], 2]),
        "documents(lengths=)[1] must have 1 dimensions, got shape []",
    ),
    "documents, too deep": (lambda: sl.documents([[[1]]]), "dimensions, got shape"),
    "documents, ragged rows": (
        lambda: sl.documents([[1, [2]], [3]]),
        "documents(lengths=)[0] cannot be read as an array, got [1, [2]]",
    ),
    "documents, no batch row": (
        lambda: sl.documents(np.zeros((0, 3), dtype=int)),
        "documents(lengths=) .. [0, 3]",
    ),
    "documents, one number": (lambda: sl.documents(3), "1 or 2 dimensions, got shape []"),
    "documents, too long": (lambda: sl.documents([2**31]), f"to {2**31 - 1}, got {2**31}"),
    "documents, too long together": (
        lambda: sl.documents([[1], [2**30, 2**30]]),
        f"to {2**31 - 1}, got {2**31}",
    ),
    "documents, ids of none": (
        lambda: sl.documents(ids=[0, -1]),
        "documents(ids=) must not be negative, got -1 .. spans(ids)",
    ),
    "documents, no ids": (lambda: sl.documents(ids=[]), "documents(ids=) is empty"),
    "documents, float ids": (lambda: sl.documents(ids=[0.5]), "documents(ids=) .. integers"),
    "documents, 3 axes of ids": (lambda: sl.documents(ids=[[[1]]]), "1 or 2 dimensions"),
    "documents, falling offsets": (
        lambda: sl.documents(cu_seqlens=[0, 3, 2]),
        "documents(cu_seqlens=) must start at 0 and never fall, such as [0, 3, 7]; got [[0, 3, 2]]"
        " .. lengths=",
    ),
    "documents, offsets from 1": (
        lambda: sl.documents(cu_seqlens=[1, 3]),
        "start at 0 .. [[1, 3]]",
    ),
    "documents, second row from 1": (
        lambda: sl.documents(cu_seqlens=[[0, 1], [1, 2]]),
        "start at 0 and never fall",
    ),
    "documents, second row falling": (
        lambda: sl.documents(cu_seqlens=[[0, 1, 2], [0, 2, 1]]),
        "start at 0 and never fall",
    ),
    "documents, no offsets": (
        lambda: sl.documents(cu_seqlens=[]),
        "documents(cu_seqlens=) .. empty",
    ),
    "documents, float offsets": (lambda: sl.documents(cu_seqlens=[0.0, 1.0]), "must hold integers"),
    "spans, empty": (lambda: sl.spans([]), "spans(ids=) is empty"),
    "spans, float": (lambda: sl.spans([0.5]), "spans(ids=) must hold integers, got float64"),
    "spans, one number": (lambda: sl.spans(3), "1 or 2 dimensions, got shape []"),
    "prefix_lm, negative": (lambda: sl.prefix_lm(-1), "prefix_lm(lengths=) .. at least 0, got -1"),
    "prefix_lm, empty": (lambda: sl.prefix_lm([]), "prefix_lm(lengths=) is empty"),
    "prefix_lm, two axes": (lambda: sl.prefix_lm([[1]]), "0 or 1 dimensions, got shape [1, 1]"),
    "seq2seq, negative": (lambda: sl.seq2seq([1, -1]), "seq2seq(source_lengths=) .. got -1"),
    "permutation, twice": (
        lambda: sl.permutation([0, 0]),
        "permutation(order=) must hold every position from 0 to 1 once, got [0, 0]",
    ),
    "permutation, gap": (lambda: sl.permutation([0, 2]), "from 0 to 1 once, got [0, 2]"),
    "permutation, second row": (lambda: sl.permutation([[0, 1], [1, 1]]), "once, got [1, 1]"),
    "permutation, negative": (lambda: sl.permutation([-1, 0]), "at least 0, got -1"),
    "permutation, empty": (lambda: sl.permutation([]), "permutation(order=) is empty"),
    "permutation, stream": (
        lambda: sl.permutation([0], stream="both"),
        "permutation(stream=) must be 'content' or 'query', got 'both'",
    ),
    "permutation, stream of an array": (
        lambda: sl.permutation([0], stream=np.array(["query", "query"])),
        "'content' or 'query', got ndarray",
    ),
    "tree, circle": (
        lambda: sl.tree([-1, 2, 3, 1]),
        "tree(parents=) goes in a circle at position 1 .. root, whose parent is -1",
    ),
    "tree, own parent": (lambda: sl.tree([0]), "goes in a circle at position 0"),
    "tree, second row": (lambda: sl.tree([[-1, 0], [1, 0]]), "goes in a circle at position 0"),
    "tree, parent beyond": (
        lambda: sl.tree([2, -1]),
        "tree(parents=)[0] is 2, but there are 2 positions",
    ),
    "tree, below -1": (lambda: sl.tree([-2]), "tree(parents=) must be at least -1, got -2"),
    "tree, empty": (lambda: sl.tree([]), "tree(parents=) is empty"),
}

CELLS: dict[str, Bad] = {
    "per_batch, empty": (lambda: sl.per_batch([]), "per_batch(masks=) is empty; give one mask"),
    "per_head, empty": (lambda: sl.per_head(()), "per_head(masks=) is empty; give one mask"),
    "per_batch, a mask": (lambda: sl.per_batch(sl.causal()), "wants a list of masks, got causal()"),
    "per_head, text": (lambda: sl.per_head("ab"), "per_head(masks=) wants a list .. got 'ab'"),
    "per_batch, none": (lambda: sl.per_batch(None), "wants a list of masks, got None"),
    "per_batch, an array": (
        lambda: sl.per_batch([sl.causal(), np.ones((2, 2))]),
        "per_batch(masks=)[1] must be a mask, got ndarray of shape [2, 2]",
    ),
    "dense, unknown sense": (
        lambda: sl.dense([[1]], "mask"),
        "dense(means=) must be 'attend', 'ignore' or 'additive', got 'mask' .. nn.Multihead",
    ),
    "dense, no sense": (lambda: sl.dense([[1]], None), "dense(means=) must be .. got None"),
    "dense, an array for a sense": (
        lambda: sl.dense([[1]], np.ones((2, 2))),
        "dense(means=) must be .. got ndarray of shape [2, 2]",
    ),
    "dense, one axis": (lambda: sl.dense([1], "attend"), "2 or 4 dimensions, got shape [1]"),
    "dense, three axes": (
        lambda: sl.dense(np.ones((2, 2, 2)), "attend"),
        "3 axes, which could be batch rows, heads or both; give 4: array[:, None] .. array[None]",
    ),
    "dense, three additive axes": (lambda: sl.dense(np.zeros((2, 2, 2)), "additive"), "3 axes"),
    "dense, five axes": (
        lambda: sl.dense(np.ones((1,) * 5), "ignore"),
        "got shape [1, 1, 1, 1, 1]",
    ),
    "dense, five additive axes": (lambda: sl.dense(np.zeros((1,) * 5), "additive"), "2 or 4"),
    "dense, counts": (lambda: sl.dense([[2]], "attend"), "0 and 1 only, got 2 (int64)"),
    "dense, negative": (lambda: sl.dense([[-1]], "ignore"), "0 and 1 only, got -1 (int64)"),
    "dense, fractions": (lambda: sl.dense([[0.5]], "attend"), "0 and 1 only, got 0.5 (float64)"),
    "dense, nan": (lambda: sl.dense([[np.nan]], "ignore"), "0 and 1 only, got nan (float64)"),
    "dense, empty": (lambda: sl.dense([[]], "attend"), "dense(array=) is empty (shape [1, 0])"),
    "dense, no batch row": (lambda: sl.dense(np.ones((0, 1, 2, 2)), "attend"), "is empty"),
    "dense, ragged": (
        lambda: sl.dense([[1], [1, 0]], "attend"),
        "got [[1], [1, 0]] .. equal length",
    ),
    "dense, text": (lambda: sl.dense("abc", "attend"), "must hold numbers, got 'abc'"),
    "dense, none": (lambda: sl.dense(None, "attend"), "must hold numbers, got None"),
    "dense, a mask": (lambda: sl.dense(sl.causal(), "attend"), "must hold numbers, got causal()"),
    "dense, complex": (lambda: sl.dense(np.ones((2, 2), complex), "attend"), "must hold numbers"),
    "additive, nan": (
        lambda: sl.dense([[0.0, np.nan]], "additive"),
        "got nan, which may come from 0 * -inf",
    ),
    "additive, inf": (lambda: sl.dense([[np.inf]], "additive"), "0 and -inf .. got inf"),
    "additive, weak": (
        lambda: sl.dense([[0.0, -100.0]], "additive"),
        "0 and -inf (or -10000 and below), got -100.0 .. bias: attend(..., bias=...)",
    ),
    "additive, just too weak": (lambda: sl.dense([[-9999.5]], "additive"), "got -9999.5"),
    "additive, ones": (lambda: sl.dense([[1.0, 0.0]], "additive"), "0 and -inf .. got 1.0"),
    "additive, integers": (
        lambda: sl.dense([[0, 1]], "additive"),
        "wants floats, got int64 .. means='attend' or means='ignore'",
    ),
    "additive, bools": (lambda: sl.dense([[True]], "additive"), "wants floats, got bool"),
    "additive, empty": (lambda: sl.dense(np.zeros((0, 3)), "additive"), "got shape [0, 3]"),
    "additive, one axis": (lambda: sl.dense(np.zeros(3), "additive"), "2 or 4 axes .. shape [3]"),
    "intervals, before start": (
        lambda: sl.intervals([0, 2], [1, 1]),
        "intervals(end=) must not be before start, got 2 .. 1 at [1]; .. end = start",
    ),
    "intervals, in a row": (lambda: sl.intervals([[0, 5]], [[1, 2]]), "got 5 .. 2 at [0, 1]"),
    "intervals, negative": (lambda: sl.intervals([-1], [1]), "intervals(start=) .. got -1"),
    "intervals, float": (lambda: sl.intervals([0], [1.5]), "intervals(end=) must hold integers"),
    "intervals, numbers": (lambda: sl.intervals(0, 1), "intervals(start=) must have .. shape []"),
    "intervals, five axes": (
        lambda: sl.intervals(np.zeros((1,) * 5, int), np.ones((1,) * 5, int)),
        "got shape [1, 1, 1, 1, 1]",
    ),
    "intervals, ragged": (lambda: sl.intervals([[0], [1, 2]], [[1], [2, 3]]), "equal length"),
    "predicate, a number": (
        lambda: sl.predicate(3),
        "predicate(fn=) must be a function of (b, h, q, k), got 3 (int)",
    ),
    "predicate, bounds": (
        lambda: sl.predicate(len, bounds=3),
        "predicate(bounds=) must be a function or None, got 3",
    ),
    "predicate, batch": (lambda: sl.predicate(len, batch=0), "predicate(batch=) .. got 0"),
    "predicate, heads": (lambda: sl.predicate(len, heads=True), "predicate(heads=) .. got True"),
}

ALL = {
    **{f"formulas: {name}": bad for name, bad in FORMULAS.items()},
    **{f"positions: {name}": bad for name, bad in POSITIONS.items()},
    **{f"grids: {name}": bad for name, bad in GRIDS.items()},
    **{f"data: {name}": bad for name, bad in DATA.items()},
    **{f"cells: {name}": bad for name, bad in CELLS.items()},
}


@pytest.mark.parametrize("name", ALL)
def test_bad_argument_is_refused_with_got_and_wanted(name: str) -> None:
    call, fragments = ALL[name]
    refused(call, fragments)


def test_every_refusal_can_be_caught_as_a_value_error_and_as_ours() -> None:
    for kind in (ValueError, sl.SightlineError):
        with pytest.raises(kind):
            sl.chunks(0)


# -- sizes that do not fit together ------------------------------------------------------------

MISMATCHES: dict[str, Bad] = {
    "per_batch of batches": (
        lambda: sl.per_batch([sl.causal(), sl.padding([1, 2])]),
        "per_batch(masks=)[1] already tells 2 batch rows apart .. the same for all",
    ),
    "per_head of heads": (
        lambda: sl.per_head([sl.per_head([sl.causal(), sl.nothing()]), sl.causal()]),
        "per_head(masks=)[0] already tells 2 heads apart",
    ),
    "per_head of two batch sizes": (
        lambda: sl.per_head([sl.padding([1, 2]), sl.padding([1, 2, 3])]),
        "masks of 2 and 3 batch rows .. equal, or 1",
    ),
    "per_batch of two numbers of heads": (
        lambda: sl.per_batch([sl.per_head([sl.causal()] * n) | sl.chunks(2) for n in (2, 3)]),
        "masks of 2 and 3 heads",
    ),
    "intervals of two shapes": (
        lambda: sl.intervals([0], [1, 2]),
        "start and end of the same shape, got [1] and [2]",
    ),
    "q_len, negative": (lambda: sl.causal().dense(-1), "q_len must be at least 0, got -1"),
    "q_len, float": (lambda: sl.causal().dense(2.0), "q_len must be an integer, got 2.0"),
    "q_len, none": (lambda: sl.causal().dense(None), "q_len must be an integer, got None"),
    "q_len, bool": (lambda: sl.causal().dense(True), "q_len must be an integer, got True (bool)"),
    "kv_len, negative": (lambda: sl.causal().dense(2, -1), "kv_len must be at least 0, got -1"),
    "kv_len, float": (lambda: sl.causal().count(2, 2.5), "kv_len must be an integer, got 2.5"),
    "q_offset, negative": (
        lambda: sl.causal().density(2, q_offset=-1),
        "q_offset must be at least 0, got -1",
    ),
    "q_offset, huge": (lambda: sl.causal().dense(2, q_offset=2**63), f"q_offset .. most {2**48}"),
    "kv_offset, negative": (
        lambda: sl.causal().empty_rows(2, kv_offset=-1),
        "kv_offset must be at least 0, got -1",
    ),
    "rows, backwards": (
        lambda: sl.causal().rows(3, 1),
        "q_start must not be after q_stop, got 3 and 1",
    ),
    "rows, negative": (lambda: sl.causal().rows(-1, 1), "q_start must be at least 0, got -1"),
    "rows, text": (lambda: sl.causal().rows("a", 1), "q_start must be an integer, got 'a'"),
    "rows, float": (lambda: sl.causal().rows(0, 1.0), "q_stop must be an integer, got 1.0"),
}


@pytest.mark.parametrize("name", MISMATCHES)
def test_sizes_that_do_not_fit_are_refused(name: str) -> None:
    call, fragments = MISMATCHES[name]
    refused(call, fragments, sl.ShapeMismatch)


ARRAY = [[1, 0, 1], [0, 1, 0]]  # 2 queries, 3 keys
TOO_FAR: dict[str, tuple[Callable[[], Any], str]] = {
    "queries": (lambda: sl.dense(ARRAY, "attend").dense(3, 3), "up to 3 and keys up to 3"),
    "keys": (lambda: sl.dense(ARRAY, "attend").dense(2, 4), "up to 2 and keys up to 4"),
    "query offset": (lambda: sl.dense(ARRAY, "attend").dense(1, 3, 2), "up to 3 and keys up to 3"),
    "key offset": (lambda: sl.dense(ARRAY, "attend").dense(2, 3, 0, 1), "up to 2 and keys up to 4"),
    "transposed": (lambda: sl.dense(ARRAY, "attend").T.dense(2, 3), "up to 3 and keys up to 2"),
    "moved up": (lambda: sl.dense(ARRAY, "attend").shift(query=-1).dense(2, 3), "queries up to 3"),
    "moved left": (lambda: sl.dense(ARRAY, "attend").shift(key=-2).dense(2, 2), "keys up to 4"),
    "moved down": (lambda: sl.dense(ARRAY, "attend").shift(query=1).dense(4, 3), "queries up to 3"),
    "complement": (lambda: (~sl.dense(ARRAY, "ignore")).dense(2, 4), "keys up to 4"),
    "in an and": (lambda: (sl.causal() & sl.dense(ARRAY, "attend")).dense(2, 4), "keys up to 4"),
    "in an or": (lambda: (sl.dense(ARRAY, "attend") | sl.chunks(2)).dense(2, 4), "keys up to 4"),
    "of one head": (
        lambda: sl.per_head([sl.causal(), sl.dense(ARRAY, "attend")]).dense(2, 4),
        "keys up to 4",
    ),
    "count": (lambda: sl.dense(ARRAY, "attend").count(3), "queries up to 3"),
    "density": (lambda: sl.dense(ARRAY, "attend").density(2, 9), "keys up to 9"),
    "empty_rows": (lambda: sl.dense(ARRAY, "attend").empty_rows(3, 3), "queries up to 3"),
    "rows": (lambda: sl.dense(ARRAY, "attend").rows(1, 3, 3), "queries up to 3"),
}


@pytest.mark.parametrize("name", TOO_FAR)
def test_a_dense_mask_is_not_asked_beyond_its_array(name: str) -> None:
    call, asked = TOO_FAR[name]
    refused(call, f"2 queries and 3 keys .. {asked} .. not known", sl.ShapeMismatch)


def test_a_dense_mask_answers_up_to_its_very_edge() -> None:
    mask = sl.dense(ARRAY, "attend")
    assert mask.dense(2, 3).sum() == 3
    assert mask.dense(1, 1, 1, 2).sum() == 0
    assert mask.T.dense(3, 2).sum() == 3
    assert mask.shift(query=1, key=1).dense(3, 4).sum() == 3
    assert mask.shift(query=-1).dense(1, 3).sum() == 1


def test_a_dense_mask_answers_where_none_of_its_cells_are_asked() -> None:
    mask = sl.dense(ARRAY, "attend")
    assert mask.dense(0, 50).shape == (1, 1, 0, 50)
    assert mask.dense(50, 0).shape == (1, 1, 50, 0)
    assert not mask.shift(query=10).dense(3, 5).any()


# -- tensors -----------------------------------------------------------------------------------


def test_tensors_that_cannot_be_read_are_refused_with_the_way_to_convert_them() -> None:
    torch = pytest.importorskip("torch")
    half = torch.zeros(2, 2, dtype=torch.bfloat16)
    learned = torch.zeros(2, 2, requires_grad=True)
    for tensor in (half, learned):
        refused(
            lambda tensor=tensor: sl.dense(tensor, "additive"),
            "got Tensor of shape [2, 2] .. .detach().float().cpu()",
        )
    assert sl.dense(half.float(), "additive") == sl.dense(np.ones((2, 2)), "attend")
    refused(lambda: sl.chunks(torch.ones(2)), "must be an integer, got Tensor of shape [2]")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_additive_masks_forbid_with_every_customary_number(dtype: Any) -> None:
    lowest = np.finfo(dtype).min
    array = np.array([[0.0, -np.inf, lowest, -1e4]], dtype=dtype)
    assert sl.dense(array, "additive") == sl.dense([[1, 0, 0, 0]], "attend")

"""The oracle's positional masks against drawings made by hand: x may attend, . may not.

Rows are queries, columns are keys. Nothing here is computed by the code under test.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sightline.reference import dense
from sightline.testing.drawings import Drawings, Rows

DRAWN = Drawings(dense)
assert_drawn = DRAWN.alone


CAUSAL = ("causal", {})


POSITIONAL: dict[str, tuple[Any, Rows, int, int]] = {
    "everything": (("everything", {}), ["xxx", "xxx"], 0, 0),
    "nothing": (("nothing", {}), ["...", "..."], 1, 0),
    "causal": (CAUSAL, ["x...", "xx..", "xxx."], 0, 0),
    "causal, later queries": (CAUSAL, ["xx..", "xxx."], 1, 0),
    "causal, later keys": (CAUSAL, ["xx.", "xxx"], 2, 1),
    "causal, strict": (("causal", {"strict": True}), ["....", "x...", "xx.."], 0, 0),
    "window": (("window", {"left": 1, "right": 2}), ["xxx..", "xxxx.", ".xxxx"], 0, 0),
    "window, left open": (("window", {"left": None, "right": 1}), ["xx..", "xxx.", "xxxx"], 0, 0),
    "window, right open": (("window", {"left": 1, "right": None}), ["xxxx", "xxxx", ".xxx"], 0, 0),
    "window, both open": (("window", {}), ["xxx", "xxx"], 4, 0),
    "window, itself": (("window", {"left": 0, "right": 0}), [".x.", "..x"], 1, 0),
    "prefix": (("prefix", {"n": 2}), ["xx..", "xx.."], 0, 0),
    "prefix, offset": (("prefix", {"n": 2}), ["x...", "x..."], 3, 1),
    "sinks": (("sinks", {"n": 1}), ["x...", "x..."], 7, 0),
    "keys, one": (("keys", {"positions": 2}), ["..x.", "..x."], 0, 0),
    "keys, list": (("keys", {"positions": [3, 0, 3]}), ["x..x.", "x..x."], 0, 0),
    "keys, array": (("keys", {"positions": np.array([1, 2])}), ["xx.", "xx."], 0, 1),
    "keys, range": (("keys", {"positions": range(1, 6, 2)}), [".x.x.x.", ".x.x.x."], 0, 0),
    "keys, no range": (("keys", {"positions": range(0)}), ["...", "..."], 0, 0),
    "keys, slice": (("keys", {"positions": slice(1, 3)}), [".xx.", ".xx."], 0, 0),
    "keys, slice from": (("keys", {"positions": slice(2, None)}), ["..xx", "..xx"], 0, 0),
    "keys, slice to": (("keys", {"positions": slice(None, 2)}), ["xx..", "xx.."], 0, 0),
    "keys, slice by 3": (("keys", {"positions": slice(1, 7, 3)}), [".x..x...", ".x..x..."], 0, 0),
    "queries": (("queries", {"positions": [1]}), ["....", "xxxx", "...."], 0, 0),
    "queries, offset": (("queries", {"positions": slice(4, None)}), ["..", "xx", "xx"], 3, 0),
    "chunks": (("chunks", {"size": 2}), ["xx...", "..xx.", "..xx.", "....x"], 1, 0),
    "block_causal": (("block_causal", {"size": 2}), ["xx...", "xx...", "xxxx."], 0, 0),
    "dilated": (("dilated", {"stride": 2}), ["x.x.x", ".x.x."], 0, 0),
    "dilated, phase": (("dilated", {"stride": 3, "phase": 1}), ["..x..", "x..x.", ".x..x"], 0, 0),
    "dilated, phase back": (("dilated", {"stride": 3, "phase": -1}), [".x..x", "..x.."], 0, 0),
    "strided": (("strided", {"stride": 3}), ["..xxxx..", "x..xxxx.", ".x..xxxx"], 5, 0),
    "fixed": (
        ("fixed", {"stride": 3, "summary": 1}),
        ["x......", "xx.....", "xxx....", "..xx...", "..xxx..", "..xxxx.", "..x..xx"],
        0,
        0,
    ),
    "fixed, two": (("fixed", {"stride": 3, "summary": 2}), [".xxx...", ".xxxx.."], 3, 0),
    "log_sparse": (("log_sparse", {}), ["..x.xxx..", "...x.xxx.", "x...x.xxx"], 6, 0),
    "log_sparse, local": (
        ("log_sparse", {"local": 3}),
        ["..xxxxx..", "...xxxxx.", "x...xxxxx"],
        6,
        0,
    ),
    "log_sparse, restart": (
        ("log_sparse", {"restart": 4}),
        ["....xxx..", ".....xxx.", "........x"],
        6,
        0,
    ),
    "log_sparse, both": (
        ("log_sparse", {"local": 3, "restart": 4}),
        ["....xxx..", "....xxxx.", "........x"],
        6,
        0,
    ),
    # 3 = log2(8); 16 // 8 * 2 * 3 = 12 rows see all of their past; the window ends at 16.
    "log_sparse_row_mask": (
        ("log_sparse_row_mask", {"sub_len": 8, "win_len": 16}),
        [
            "xxxxxxxxxxxx......",
            "xxxxx.x.xxxxx.....",
            ".xxxxx.x.xxxxx....",
            "x.xxxxx.x.xxxxx...",
            ".x.xxxxx.x.xxxxx..",
            "..................",
        ],
        11,
        0,
    ),
    # Nine is no power of two (log 3.2, rounded up to 4), and 3 + 8 back exceeds it. The last
    # anchors are 1, 2 and 3: the first two have no room for 4 local keys and are left out.
    "log_sparse_row_mask, short anchor": (
        ("log_sparse_row_mask", {"sub_len": 9, "win_len": 31}),
        [
            "x..x.xxxxxx.x.xxxxxx.x.xxxxxx..",
            "xx..x.xxxxxx.x.xxxxxx.x.xxxxxx.",
            "xxxx.x.xxxxxx.x.xxxxxx.x.xxxxxx",
        ],
        28,
        0,
    ),
    # Anchors 13, 7, 1. Key 1 is left out as an anchor, but lies just within reach of 7: 2 + 4 = 6.
    "log_sparse_row_mask, farthest point": (
        ("log_sparse_row_mask", {"sub_len": 6, "win_len": 17}),
        ["xx.xxxxx.xxxxx."],
        13,
        0,
    ),
    "block_diffusion": (
        ("block_diffusion", {"length": 4, "block": 2}),
        [
            "xx.......",
            "xx.......",
            "..xxxx...",
            "..xxxx...",
            "....xx...",
            "....xx...",
            "....xxxx.",
            "....xxxx.",
            ".........",
        ],
        0,
        0,
    ),
    "block_diffusion, short last block": (
        ("block_diffusion", {"length": 3, "block": 2}),
        ["xx....", "..xxx.", "...xx.", "...xx.", "...xxx", "......"],
        1,
        0,
    ),
}


@pytest.mark.parametrize("name", POSITIONAL)
def test_positional(name: str) -> None:
    spec, rows, q_offset, kv_offset = POSITIONAL[name]
    assert_drawn(spec, rows, q_offset, kv_offset)


# Worked out with a separate C program in unsigned 64-bit arithmetic, from the definition.
RANDOM_5 = ["x.......", "xx......", "x.x.....", ".x.x....", "..xx....", "xx......", "xx......"]
RANDOM_MAX = ["x.......", "xx......", "xxx.....", "xxx.....", "xx.x....", ".x.xx...", "xx...x.."]


@pytest.mark.parametrize(
    ("seed", "per_row", "rows"), [(5, 2, RANDOM_5), (2**31 - 1, 3, RANDOM_MAX)]
)
def test_random_blocks_draws(seed: int, per_row: int, rows: Rows) -> None:
    spec = ("random_blocks", {"block": 1, "per_row": per_row, "seed": seed})
    assert_drawn(spec, rows)
    assert_drawn(spec, rows[3:], q_offset=3)


def test_random_blocks_seed_defaults_to_zero() -> None:
    rows = ["x....", "xx...", "xx...", "..xx.", ".x..x"]
    assert_drawn(("random_blocks", {"block": 1, "per_row": 2}), rows)


def test_random_blocks_are_blocks() -> None:
    """Row 3 of RANDOM_5 sees blocks 1 and 3, row 4 sees blocks 2 and 3."""
    spec = ("random_blocks", {"block": 2, "per_row": 2, "seed": 5})
    assert_drawn(spec, ["..xx..xx..", "..xx..xx..", "....xxxx..", "....xxxx.."], q_offset=6)


def test_random_blocks_all_of_the_past_when_asked_for_more() -> None:
    spec = ("random_blocks", {"block": 2, "per_row": 9})
    assert_drawn(spec, ["xx...", "xx...", "xxxx.", "xxxx.", "xxxxx"])


def test_the_comparison_can_fail() -> None:
    with pytest.raises(AssertionError):
        assert_drawn(CAUSAL, ["x..", "xxx"])

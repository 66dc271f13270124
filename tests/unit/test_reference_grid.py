"""The oracle's masks over grids against drawings made by hand: x may attend, . may not.

Rows are queries, columns are keys. Nothing here is computed by the code under test.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sightline.reference import dense
from sightline.testing.drawings import Drawings, Rows, drawing

DRAWN = Drawings(dense)
assert_drawn = DRAWN.alone


def assert_grid(spec: Any, *grid_rows: str) -> None:
    """Tokens with the same letter see each other; two tokens past the grid see nothing."""
    letters = "".join(grid_rows)
    size = len(letters) + 2
    wanted = np.zeros((size, size), dtype=bool)
    for q, mine in enumerate(letters):
        for k, yours in enumerate(letters):
            wanted[q, k] = mine == yours
    assert drawing(dense(spec, size)[0, 0]) == drawing(wanted)


def windows(grid: Any, window: Any, shift: Any) -> Any:
    return ("shifted_window", {"grid": grid, "window": window, "shift": shift})


SHIFTED: dict[str, tuple[Any, Rows]] = {
    "no shift": (windows((2, 4), (1, 2), 0), ["aabb", "ccdd"]),
    "no shift, padded": (windows((3, 5), 2, 0), ["aabbc", "aabbc", "ddeef"]),
    "shift": (windows((4, 4), 2, 1), ["abbc", "deef", "deef", "ghhi"]),
    "one axis shifted": (windows((1, 4), (1, 2), (0, 1)), ["abbc"]),
    # Padded to 6 and rolled by 1: the last window holds the pad and token 0.
    "shift, padded": (windows((1, 5), (1, 2), (0, 1)), ["abbcc"]),
    "shift of 2": (windows((1, 6), (1, 3), (0, 2)), ["aabbbc"]),
    # 2-D and one number: the smaller side is no larger than 3, so windows of 2, no shift.
    "clamped, both axes": (windows((2, 5), 3, 1), ["aabbc", "aabbc"]),
    "clamped, side equal to the window": (
        windows((5, 3), 3, 2),
        ["aaa", "aaa", "aaa", "bbb", "bbb"],
    ),
    # A number for each axis: only the axis that is too small loses its shift.
    "clamped, one axis": (windows((2, 5), (3, 3), (1, 1)), ["abbbc", "abbbc"]),
    "3-D": (windows((2, 1, 4), (1, 1, 2), (0, 0, 1)), ["abbc", "deef"]),
    # One number in 3-D: each axis by itself; 2 frames and 1 row are too small, 5 columns are not.
    "3-D, clamped": (windows((2, 1, 5), 3, 1), ["abbbc", "abbbc"]),
    "3-D, shifted in time": (windows((4, 1, 2), (2, 1, 2), (1, 0, 1)), ["aa", "bb", "bb", "cc"]),
}


@pytest.mark.parametrize("name", SHIFTED)
def test_shifted_window(name: str) -> None:
    spec, grid_rows = SHIFTED[name]
    assert_grid(spec, *grid_rows)


def near(grid: Any, kernel: Any, dilation: Any = 1) -> Any:
    return ("neighborhood", {"grid": grid, "kernel": kernel, "dilation": dilation})


NEIGHBORHOOD: dict[str, tuple[Any, Rows, int]] = {
    "line": (near((5,), 3), ["xxx..", "xxx..", ".xxx.", "..xxx", "..xxx"], 0),
    "even kernel": (near((4,), 2), ["xx..", "xx..", ".xx.", "..xx"], 0),
    "whole line": (near((3,), 3), ["xxx.", "xxx.", "xxx.", "...."], 0),
    "dilated": (
        near((7,), 3, 2),
        ["x.x.x..", ".x.x.x.", "x.x.x..", ".x.x.x.", "..x.x.x", ".x.x.x.", "..x.x.x"],
        0,
    ),
    "plane": (
        near((2, 3), (1, 2)),
        ["xx.....", "xx.....", ".xx....", "...xx..", "...xx..", "....xx.", "......."],
        0,
    ),
    "plane, dilated on one axis": (
        near((2, 4), (2, 2), (1, 2)),
        [".x.x.x.x", "x.x.x.x.", ".x.x.x.x"],
        1,
    ),
    # Token 5 of 3 x 4 is row 1, column 1: rows 0 to 2, columns 0 to 2.
    "plane, in the middle": (near((3, 4), 3), ["xxx.xxx.xxx.", ".xxx.xxx.xxx"], 5),
    "space": (near((2, 1, 3), (1, 1, 3)), ["xxx...", "...xxx"], 2),
}


@pytest.mark.parametrize("name", NEIGHBORHOOD)
def test_neighborhood(name: str) -> None:
    spec, rows, q_offset = NEIGHBORHOOD[name]
    assert_drawn(spec, rows, q_offset)


@pytest.mark.parametrize(
    ("grid", "axis", "grid_rows"),
    [
        ((2, 3), 1, ["aaa", "bbb"]),
        ((2, 3), -1, ["aaa", "bbb"]),
        ((2, 3), 0, ["abc", "abc"]),
        ((2, 2, 3), 1, ["abc", "abc", "def", "def"]),
        ((2, 2, 3), 0, ["abc", "def", "abc", "def"]),
    ],
)
def test_axial(grid: tuple[int, ...], axis: int, grid_rows: Rows) -> None:
    assert_grid(("axial", {"grid": grid, "axis": axis}), *grid_rows)


def test_the_comparison_can_fail() -> None:
    with pytest.raises(AssertionError):
        assert_grid(windows((4, 4), 2, 1), "aabb", "aabb", "ccdd", "ccdd")

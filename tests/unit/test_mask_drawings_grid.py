"""Masks over tokens on a grid against drawings made by hand: x may attend, . may not.

Windows and axes are drawn as letters on the grid (the same letter sees the same), neighborhoods
as the keys of one query. Nothing here is computed by the code under test.
"""

from __future__ import annotations

from typing import Any

import pytest

import sightline as sl


def assert_grid(mask: sl.Mask, *grid_rows: str) -> None:
    """Tokens with the same letter see each other; two positions past the grid see nothing."""
    letters = "".join(grid_rows)
    size = len(letters) + 2
    wanted = [[mine == yours for yours in letters] + [False] * 2 for mine in letters]
    assert mask.dense(size)[0, 0].tolist() == [*wanted, [False] * size, [False] * size]


# letters on the grid: the same letter, the same window
SHIFTED: dict[str, tuple[Any, Any, Any, list[str]]] = {
    "no shift": ((2, 4), (1, 2), 0, ["aabb", "ccdd"]),
    "no shift, padded": ((3, 5), 2, 0, ["aabbc", "aabbc", "ddeef"]),
    "shift": ((4, 4), 2, 1, ["abbc", "deef", "deef", "ghhi"]),
    "shift by two": ((1, 8), (1, 4), (0, 2), ["aabbbbcc"]),
    # Padded to 9: after the roll the last window holds token 0 and two pads.
    "shift, padded": ((1, 7), (1, 3), (0, 1), ["abbbccc"]),
    # Padded to 9: after the roll the windows hold 2 3 4, 5 6 pad, pad 0 1.
    "shift by two, padded": ((1, 7), (1, 3), (0, 2), ["aabbbcc"]),
    # Padded to 8: 3 4 5 pad, pad 0 1 2.
    "shift by three, padded": ((1, 6), (1, 4), (0, 3), ["aaabbb"]),
    "both axes padded": ((4, 6), 3, 1, ["abbbcc", "deeeff", "deeeff", "deeeff"]),
    # One number on two axes: the shorter side is no larger, so both take its size, unshifted.
    "clamped, one number": ((2, 5), 3, 1, ["aabbc", "aabbc"]),
    "clamped, side equals window": ((5, 3), 3, 2, ["aaa", "aaa", "aaa", "bbb", "bbb"]),
    # A number for each axis: each axis by itself, so the long one keeps window and shift.
    "clamped, two numbers": ((2, 5), (3, 3), (1, 1), ["abbbc", "abbbc"]),
    "axis equal to the window": ((1, 4), (1, 4), (0, 3), ["aaaa"]),
    "three axes, one number": ((2, 1, 3), 2, 1, ["abb", "abb"]),
    "three axes": ((2, 2, 2), (1, 2, 1), 0, ["ab", "ab", "cd", "cd"]),
}


@pytest.mark.parametrize("name", SHIFTED)
def test_shifted_window_as_drawn(name: str) -> None:
    grid, window, shift, letters = SHIFTED[name]
    assert_grid(sl.shifted_window(grid, window, shift), *letters)


AXIAL: dict[str, tuple[Any, int, list[str]]] = {
    "row": ((2, 3), 1, ["aaa", "bbb"]),
    "column": ((2, 3), 0, ["abc", "abc"]),
    "last": ((2, 3), -1, ["aaa", "bbb"]),
    "first of two": ((2, 3), -2, ["abc", "abc"]),
    "time": ((2, 2, 2), 0, ["ab", "cd", "ab", "cd"]),
    "middle": ((2, 2, 2), 1, ["ab", "ab", "cd", "cd"]),
    "one axis": ((3,), 0, ["aaa"]),
}


@pytest.mark.parametrize("name", AXIAL)
def test_axial_as_drawn(name: str) -> None:
    grid, axis, letters = AXIAL[name]
    assert_grid(sl.axial(grid, axis), *letters)


# (grid, kernel, dilation, query): the keys of that query, drawn on the grid
NEIGHBORS: list[tuple[Any, Any, Any, int, list[str]]] = [
    ((3, 4), (3, 2), 1, 0, ["xx..", "xx..", "xx.."]),
    ((3, 4), (3, 2), 1, 6, [".xx.", ".xx.", ".xx."]),
    ((3, 4), (3, 2), 1, 11, ["..xx", "..xx", "..xx"]),
    ((4, 4), 3, 1, 5, ["xxx.", "xxx.", "xxx.", "...."]),
    ((4, 4), 3, 1, 15, ["....", ".xxx", ".xxx", ".xxx"]),
    ((4, 5), (1, 2), (1, 2), 8, [".....", ".x.x.", ".....", "....."]),
    ((4, 5), (2, 1), (2, 1), 13, ["...x.", ".....", "...x.", "....."]),
    ((4, 5), (2, 2), (2, 2), 18, [".....", ".x.x.", ".....", ".x.x."]),
    ((2, 2, 3), (1, 2, 2), 1, 8, ["...", "...", ".xx", ".xx"]),
]


@pytest.mark.parametrize(("grid", "kernel", "dilation", "query", "picture"), NEIGHBORS)
def test_neighborhood_of_one_query_as_drawn(
    grid: Any, kernel: Any, dilation: Any, query: int, picture: list[str]
) -> None:
    cells = "".join(picture)
    row = sl.neighborhood(grid, kernel, dilation).rows(query, query + 1, len(cells) + 1)[0, 0, 0]
    assert "".join("x" if seen else "." for seen in row) == cells + "."


@pytest.mark.parametrize(("grid", "kernel"), [((5,), 3), ((3, 4), (3, 2)), ((2, 2, 3), (1, 2, 2))])
def test_a_neighborhood_ends_with_the_grid(grid: Any, kernel: Any) -> None:
    size = 1
    for axis in grid:
        size *= axis
    mask = sl.neighborhood(grid, kernel)
    assert mask.dense(1, size, q_offset=size - 1).any()
    assert not mask.dense(3, size + 3, q_offset=size).any()
    assert not mask.dense(size, 3, kv_offset=size).any()

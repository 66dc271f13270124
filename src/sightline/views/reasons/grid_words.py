"""What atoms on a grid say of one pair: where its tokens are, and in which windows.

Other atoms are in pair_words.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sightline.masks.grid import Neighborhood, ShiftedWindow, cell_count, coordinates
from sightline.views.reasons.pairs import Asked

__all__ = ["axial_words", "neighborhood_words", "shifted_window_words"]


def _at(position: int, grid: tuple[int, ...]) -> str:
    if position >= cell_count(grid):
        return f"beyond the grid of {cell_count(grid)} tokens"
    return f"at {_tuple(coordinates(position, grid))}"


def _tuple(numbers: Iterable[int]) -> str:
    return f"({', '.join(str(n) for n in numbers)})"


def _on_grid(asked: Asked) -> tuple[list[int], list[int]] | None:
    """Return the coordinates of query and key; None if one lies beyond the grid."""
    pair, grid = asked.pair, asked.mask.grid
    if max(pair.query, pair.key) >= cell_count(grid):
        return None
    return coordinates(pair.query, grid), coordinates(pair.key, grid)


def _places(asked: Asked) -> str:
    pair, grid = asked.pair, asked.mask.grid
    return f"query {pair.query} is {_at(pair.query, grid)}, key {pair.key} {_at(pair.key, grid)}"


def shifted_window_words(asked: Asked) -> str:
    """Return the window that each of the two is in."""
    mask: ShiftedWindow = asked.mask
    places = _on_grid(asked)
    if places is None:
        return _places(asked)
    query, key = (_tuple(_window_numbers(mask, where)) for where in places)
    if query == key:
        return f"{_places(asked)}, both in window {query}"
    return f"{_places(asked)}, in windows {query} and {key}"


def _window_numbers(mask: ShiftedWindow, where: list[int]) -> Iterator[int]:
    """Number the windows along each axis; what the roll brought around is one of its own."""
    for at, window, shift in zip(where, mask.window, mask.shift_by, strict=True):
        yield 0 if at < shift else (at - shift) // window + (shift > 0)


def neighborhood_words(asked: Asked) -> str:
    """Return what the query sees along each axis."""
    mask: Neighborhood = asked.mask
    places = _on_grid(asked)
    if places is None:
        return _places(asked)
    seen: list[str] = []
    for at, size, kernel, step in zip(
        places[0], mask.grid, mask.kernel, mask.dilation, strict=True
    ):
        group = -(-(size - at % step) // step)
        start = min(max(at // step - kernel // 2, 0), group - kernel)
        first, last = at % step + start * step, at % step + (start + kernel - 1) * step
        every = f" by {step}" if step > 1 else ""
        seen.append(f"{first} to {last}{every}")
    return f"{_places(asked)}; the query sees ({', '.join(seen)})"


def axial_words(asked: Asked) -> str:
    """Return where the two are, and which axis may differ."""
    if _on_grid(asked) is None:
        return _places(asked)
    return f"{_places(asked)}; only axis {asked.mask.axis} may differ"

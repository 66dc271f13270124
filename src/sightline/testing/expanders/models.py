"""transformers' two-dimensional masks and packed positions, and Swin's windows, expanded."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.testing.expanders.shape import Shape, numbers


def hf_2d(keywords: dict[str, Any], shape: Shape) -> NDArray[np.bool_]:
    """A decoder's own causal mask, less the tokens whose attention_mask is 0."""
    present = np.broadcast_to(numbers(keywords["attention_mask"]), (shape.batch, shape.kv_len))
    allowed = np.zeros(shape.full, dtype=np.bool_)
    for query, key in product(range(shape.q_len), range(shape.kv_len)):
        if key <= query + shape.q_offset:
            allowed[:, :, query, key] = present[:, None, key] == 1
    return allowed


def hf_position_ids(keywords: dict[str, Any], shape: Shape) -> NDArray[np.bool_]:
    """A decoder without a 2-D mask: a new document wherever the position does not rise by one."""
    if keywords["attention_mask"] is not None:
        raise ValueError("an attention_mask switches the search for documents off")
    allowed = np.zeros(shape.full, dtype=np.bool_)
    positions = np.broadcast_to(numbers(keywords["position_ids"]), (shape.batch, shape.q_len))
    for batch, row in enumerate(positions.tolist()):
        document, documents = 0, []
        for at, position in enumerate(row):
            document += at > 0 and position != row[at - 1] + 1
            documents.append(document)
        for query, key in product(range(shape.q_len), range(shape.kv_len)):
            allowed[batch, :, query, key] = key <= query and documents[query] == documents[key]
    return allowed


def swin(
    keywords: dict[str, Any],
    shape: Shape,
    grid: tuple[int, int],
    window: tuple[int, int],
    shift: tuple[int, int],
) -> NDArray[np.bool_]:
    """The rolled grid cut into windows, row by row; 0 where a token attends, negative where not."""
    masks = keywords["attn_mask"]
    rows, columns = grid
    allowed = np.zeros((rows * columns, rows * columns), dtype=np.bool_)
    at = [(row, column) for row in range(rows) for column in range(columns)]
    for (q_row, q_column), (k_row, k_column) in product(at, at):
        places = []
        for row, column in ((q_row, q_column), (k_row, k_column)):
            rolled = (row - shift[0]) % rows, (column - shift[1]) % columns
            number = rolled[0] // window[0] * (columns // window[1]) + rolled[1] // window[1]
            inside = rolled[0] % window[0] * window[1] + rolled[1] % window[1]
            places.append((number, inside))
        (q_window, query), (k_window, key) = places
        if q_window == k_window:
            token = q_row * columns + q_column, k_row * columns + k_column
            allowed[token] = masks[q_window, query, key] == 0
    return np.array(np.broadcast_to(allowed, shape.full))


def one_window(keywords: dict[str, Any], shape: Shape) -> NDArray[np.bool_]:
    """Swin with a grid of one row that is one window."""
    return swin(keywords, shape, (1, shape.q_len), (1, shape.q_len), (0, 0))

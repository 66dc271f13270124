"""Transformers' mask closures read into expressions: by name, and checked against the closure.

Transformers says a mask as nested functions of (batch, head, query, key). Those of its own
``masking_utils`` are known here by their names; whatever is not known, or answers otherwise than
its name promises, is not guessed at: ``read_closure`` returns None, and the caller evaluates it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sightline.errors import SightlineError
from sightline.masks.data import documents, spans
from sightline.masks.explicit import per_batch
from sightline.masks.mask import Mask
from sightline.masks.periodic import chunks
from sightline.masks.positional import causal, everything, window

Ints = NDArray[np.int64]

_HOME = "transformers.masking_utils"
_MOST_KEPT = 256
# How many queries, keys and batch rows a reading is checked at.
_CHECKED = 6, 96, 4


@dataclass(frozen=True)
class Frame:
    """Where a mask is asked for: sizes, and the absolute positions of query 0 and key 0."""

    batch: int
    q_len: int
    kv_len: int
    q_offset: int
    kv_offset: int


class _Unread(Exception):
    """A part that is not known; never leaves this file."""


_kept: dict[Hashable, Mask] = {}
_checked: dict[Hashable, bool] = {}


def read_closure(function: Callable[..., Any], frame: Frame) -> Mask | None:
    """Return the mask that a closure means, over absolute positions, or None if it is not known."""
    try:
        name = _name(function)
        mask = _kept.get(name)
        if mask is None:
            mask = _read(function)
            if len(_kept) < _MOST_KEPT and not _holds_tensors(name):
                _kept[name] = mask
    except (_Unread, SightlineError):
        return None
    kind = _shape_of(name)
    if kind not in _checked:
        _checked[kind] = _agrees(function, mask, name, frame)
    return mask if _checked[kind] else None


def reads_tokens(function: Callable[..., Any]) -> bool:
    """Return whether a closure may hold what was made from the tokens or positions of a call.

    Where chunks begin is not that: it is read from the 2-D mask.
    """
    try:
        name = _name(function)
    except _Unread:
        return True
    return _holds_tokens(name)


# -- closures by name -------------------------------------------------------------------------


def _qualified(function: Callable[..., Any]) -> str:
    if getattr(function, "__module__", None) != _HOME:
        raise _Unread
    return function.__qualname__.partition(".")[0]


def _cells(function: Any) -> dict[str, Any]:
    cells = function.__closure__ or ()
    return {n: c.cell_contents for n, c in zip(function.__code__.co_freevars, cells, strict=True)}


def _name(part: Any) -> Hashable:
    """Return what tells closures of equal meaning: names and numbers; tensors by themselves."""
    if isinstance(part, (tuple, list)):
        return tuple(_name(each) for each in part)
    if isinstance(part, torch.Tensor):
        return _Held(part)
    if callable(part):
        return (_qualified(part), *(_name(cell) for cell in _cells(part).values()))
    if part is None or isinstance(part, (int, float)):
        return part
    raise _Unread


class _Held:
    """A tensor in a name: equal to nothing but itself."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor


def _flat(name: Hashable) -> Iterator[Hashable]:
    if isinstance(name, tuple):
        for each in name:
            yield from _flat(each)
    else:
        yield name


def _holds_tensors(name: Hashable) -> bool:
    return any(isinstance(each, _Held) for each in _flat(name))


def _holds_tokens(name: Hashable) -> bool:
    if isinstance(name, tuple):
        return name[:1] != ("chunked_overlay",) and any(map(_holds_tokens, name))
    return isinstance(name, _Held)


def _shape_of(name: Hashable) -> Hashable:
    """Return the name without its data: the structure that is checked once."""
    if isinstance(name, tuple):
        return tuple(_shape_of(each) for each in name)
    return name if isinstance(name, str) else type(name).__name__


# -- what each name means ---------------------------------------------------------------------


def _read(function: Callable[..., Any]) -> Mask:
    reader = _READERS.get(_qualified(function))
    if reader is None:
        raise _Unread
    try:
        return reader(**_cells(function))
    except TypeError as other:  # a closure of that name over other variables
        raise _Unread from other


def _both(mask_functions: tuple[Any, ...]) -> Mask:
    if [_qualified(each) for each in mask_functions] == list(_PACKED):
        return _packed(*map(_cells, mask_functions))
    return reduce(lambda a, b: a & b, map(_read, mask_functions))


def _either(mask_functions: tuple[Any, ...]) -> Mask:
    return reduce(lambda a, b: a | b, map(_read, mask_functions))


def _chunked(chunk_size: int, left_padding: torch.Tensor) -> Mask:
    """Chunks counted from each row's first real token; those before it are chunks too."""
    rows = {start: _chunks_from(start, chunk_size) for start in set(left_padding.tolist())}
    if len(rows) == 1:
        return next(iter(rows.values()))
    return per_batch([rows[start] for start in left_padding.tolist()])


def _chunks_from(start: int, size: int) -> Mask:
    ahead = -start % size
    return chunks(size).shift(query=-ahead, key=-ahead)


def _packed(packed: dict[str, Any], remapped: dict[str, Any]) -> Mask:
    """Documents side by side, and a mask over the positions inside each.

    Where positions grow by one inside a document, and the mask asks for distances only, it is the
    same mask over all positions.
    """
    ids = _array(packed["packed_sequence_mask"])
    positions = _array(remapped["position_ids"])
    inner = _read(remapped["mask_function"])
    inside = np.diff(ids, axis=-1) == 0
    if inner.shift(query=-1, key=-1) != inner or (np.diff(positions, axis=-1)[inside] != 1).any():
        raise _Unread
    return documents(ids=ids) & inner


def _array(tensor: torch.Tensor) -> NDArray[Any]:
    return tensor.detach().cpu().numpy()


_READERS: dict[str, Callable[..., Mask]] = {
    "causal_mask_function": causal,
    "bidirectional_mask_function": everything,
    "and_masks": _both,
    "or_masks": _either,
    "sliding_window_overlay": lambda sliding_window: window(left=sliding_window - 1),
    "sliding_window_bidirectional_overlay": lambda sliding_window: window(
        left=sliding_window, right=sliding_window
    ),
    "chunked_overlay": _chunked,
    "packed_sequence_mask_function": lambda packed_sequence_mask: documents(
        ids=_array(packed_sequence_mask)
    ),
    "blockwise_overlay": lambda block_sequence_ids: spans(_array(block_sequence_ids)),
}
_PACKED = ("packed_sequence_mask_function", "remap_positions_for_packed_sequence")


# -- the check --------------------------------------------------------------------------------


def _agrees(function: Callable[..., Any], mask: Mask, name: Hashable, frame: Frame) -> bool:
    """Return whether the closure answers as the mask does, where it matters.

    That is at places spread over the frame, and around each distance that the closure names. A
    closure without data is asked beyond the frame too, which may be one query of a decoding step.
    """
    numbers = {each for each in _flat(name) if isinstance(each, int)}
    if not _holds_tensors(name):
        reach = 2 * max((*numbers, _CHECKED[1])) + 2
        frame = Frame(1, reach, reach, 0, 0)
    rows = _spread(0, frame.batch, _CHECKED[2])
    queries = _spread(frame.q_offset, frame.q_len, _CHECKED[0])
    keys = _keys(queries, numbers, frame)
    index = [torch.as_tensor(each) for each in (rows, queries, keys)]
    said = function(
        index[0][:, None, None, None],
        torch.zeros(1, 1, 1, 1, dtype=torch.long),
        index[1][None, None, :, None],
        index[2][None, None, None, :],
    )
    said = said.expand(len(rows), 1, len(queries), len(keys)).numpy()
    for place, query in enumerate(queries.tolist()):
        row = mask.dense(1, int(keys[-1]) + 1, query)[..., keys]  # [batch|1, 1, 1, keys]
        own = row if row.shape[0] == 1 else row[rows]
        if not (own[:, :, 0] == said[:, :, place]).all():
            return False
    return True


def _keys(queries: Ints, numbers: set[int], frame: Frame) -> Ints:
    """Return keys spread over the frame, and those near each query and at its named distances."""
    stop = frame.kv_offset + frame.kv_len
    near = [queries + sign * n + by for n in (0, *numbers) for sign in (1, -1) for by in (-1, 0, 1)]
    keys = np.unique(np.concatenate([_spread(frame.kv_offset, frame.kv_len, _CHECKED[1]), *near]))
    return keys[(keys >= frame.kv_offset) & (keys < stop)]


def _spread(start: int, count: int, most: int) -> Ints:
    return start + np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))

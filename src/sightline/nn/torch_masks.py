"""Masks as torch's attention layers take them, turned into sightline masks, exactly.

In torch a True forbids and a float is added to the scores; ``is_causal`` is a hint there and a
mask of its own here: nothing replaces anything, what is given holds together. ``sl.recognize``
reads the same arguments into the shortest expression; here only what is quick is looked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from sightline.engines.kept import Store
from sightline.engines.shared import refuse_shared
from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.lower.arguments import check_mask
from sightline.masks.explicit import dense
from sightline.masks.mask import Mask
from sightline.masks.padding import padding
from sightline.masks.positional import causal, everything, sinks

EVERYTHING, CAUSAL = everything(), causal()
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class Sizes(NamedTuple):
    """What an attention is about.

    Attributes:
        batch: batch rows.
        heads: query heads.
        q_len: queries.
        kv_len: keys.
        q_offset: the absolute position of query 0.
    """

    batch: int
    heads: int
    q_len: int
    kv_len: int
    q_offset: int = 0


class Sight(NamedTuple):
    """Who may see whom, and what is added to the scores besides.

    Attributes:
        mask: the sightline mask.
        bias: floats that broadcast to [batch, heads, q_len, kv_len], or None.
    """

    mask: Mask
    bias: torch.Tensor | None = None


@dataclass(frozen=True)
class _Kept:
    mask: Mask
    nbytes: int


# Masks read from tensors, by the tensors' content: a model gives each layer the same tensor.
_STORE: Store[_Kept] = Store(32 * 2**20)


def read_masks(
    sizes: Sizes,
    *,
    mask: Any = None,
    attn_mask: Any = None,
    key_padding_mask: Any = None,
    query_mask: Any = None,
    is_causal: Any = False,
    added: int = 0,
) -> Sight:
    """Return what all of the arguments say together.

    Args:
        sizes: what the attention is about.
        mask: a sightline mask, or None for everything.
        attn_mask: [q_len, kv_len] or [batch * heads, q_len, kv_len], True forbids, floats are
            added; or a sightline mask.
        key_padding_mask: [batch, kv_len], True forbids, floats are added; or a sightline mask.
        query_mask: bool [batch, q_len], True for a real query; or a sightline mask.
        is_causal: and nobody sees what comes after.
        added: how many keys stand before those that the masks speak of, seen by every real query.

    Raises:
        InvalidArgument: a tensor that is neither bool nor floating, or floats of 0 and 1 alone.
        ShapeMismatch: a tensor of another shape.
        InvalidMask: ``mask`` is not a sightline mask.

    >>> import torch
    >>> later = torch.tensor([[False, True, True], [False, False, True]])
    >>> sizes = Sizes(batch=1, heads=1, q_len=2, kv_len=3)
    >>> read_masks(sizes, attn_mask=later, key_padding_mask=torch.tensor([[True, False, False]]))
    Sight(mask=causal() & padding(lengths=[2], side='left', total=3), bias=None)
    """
    given = mask, attn_mask, key_padding_mask, query_mask
    if torch.compiler.is_compiling() and not _is_one_mask(given, is_causal, added):
        return _read_apart(sizes, given, is_causal, added)
    return _read_all(sizes, given, is_causal, added)


def _is_one_mask(given: tuple[Any, ...], is_causal: Any, added: int) -> bool:
    """Return whether there is one sightline mask at most, so that none needs to be made."""
    there = [each for each in given if each is not None]
    masks = all(isinstance(each, Mask) for each in there)
    return masks and len(there) + bool(is_causal) <= 1 and not added


def _read_all(sizes: Sizes, given: tuple[Any, ...], is_causal: Any, added: int) -> Sight:
    mask, attn_mask, key_padding_mask, query_mask = given
    found = EVERYTHING if mask is None else check_mask(mask)
    biases: list[torch.Tensor] = []
    for name, each in (("attn_mask", attn_mask), ("key_padding_mask", key_padding_mask)):
        if isinstance(each, Mask):
            found = _both(found, each)
        elif each is not None:
            forbidding, bias = _read(_tensor(name, each), name, sizes)
            found = _both(found, forbidding)
            biases += [] if bias is None else [bias]
    if is_causal:
        found = _both(found, CAUSAL)
    bias = sum(biases[1:], biases[0]) if biases else None
    if added:
        refuse_shared("add_bias_kv or add_zero_attn", reason="each rank would add keys of its own")
        found = found.shift(key=added) | sinks(added)
        bias = None if bias is None else functional.pad(bias, (added, 0))
    if query_mask is not None:
        found = _both(found, _read_queries(query_mask, sizes))
    return Sight(found, bias)


# torch.compile cannot follow how masks are made.
_read_apart: Any = torch.compiler.disable(_read_all)


def _both(one: Mask, other: Mask) -> Mask:
    return other if one is EVERYTHING else _meet(one, other)


@lru_cache(maxsize=32)
def _meet(one: Mask, other: Mask) -> Mask:
    """Return ``one & other``; kept, since each layer of a model asks for the same."""
    return one & other


def _tensor(name: str, given: Any) -> torch.Tensor:
    _refuse_shared_tensor(name)
    if isinstance(given, torch.Tensor) and given.dtype in (torch.bool, *_FLOATS):
        return given
    got = str(given.dtype) if isinstance(given, torch.Tensor) else type(given).__name__
    raise InvalidArgument(
        f"got {name} of type {got}; wanted a bool tensor (True forbids, as in torch.nn), a "
        "floating one that is added to the scores, or a sightline mask; 0 and 1 do not say which "
        "is which: convert with .bool(), or with == 0."
    )


def _refuse_shared_tensor(name: str) -> None:
    refuse_shared(
        f"{name} as a tensor",
        reason="it holds no positions, by which tokens of different ranks find each other",
        alternative="a sightline mask over the whole sequence, such as sl.padding(lengths=[5, 3])",
    )


def _read(given: torch.Tensor, name: str, sizes: Sizes) -> tuple[Mask, torch.Tensor | None]:
    """Return what a tensor forbids, and what it adds, if that is more than 0 and -inf."""
    shaped = _four_axes(given, name, sizes)
    if given.dtype == torch.bool:
        return _mask_of(~shaped.detach(), sizes), None
    plain = shaped.detach()
    if not given.requires_grad:
        _check_meant_as_floats(plain, name)
    forbidden = torch.isneginf(plain)
    only_forbids = not given.requires_grad and bool(((plain == 0) | forbidden).all())
    return _mask_of(~forbidden, sizes), None if only_forbids else shaped


def _check_meant_as_floats(plain: torch.Tensor, name: str) -> None:
    """Refuse zeros and ones, which torch adds to the scores: they mask nothing."""
    ones = plain == 1
    if bool(ones.any()) and bool(((plain == 0) | ones).all()) and not bool(ones.all()):
        raise InvalidArgument(
            f"got {name} of floats that are all 0 or 1, which would be added to the scores and "
            f"forbid nothing; wanted bools (True forbids): {name} == 0 if 1 means keep, {name} == "
            "1 if it means ignore; or 0 and -inf."
        )


def _four_axes(given: torch.Tensor, name: str, sizes: Sizes) -> torch.Tensor:
    """Return [batch or 1, heads or 1, q_len or 1, kv_len]."""
    batch, heads, q_len, kv_len, _ = sizes
    shape = tuple(given.shape)
    wanted: dict[tuple[int, ...], tuple[int, ...]]
    if name == "key_padding_mask":
        wanted = {(batch, kv_len): (batch, 1, 1, kv_len)}
    else:
        wanted = {
            (q_len, kv_len): (1, 1, q_len, kv_len),
            (batch * heads, q_len, kv_len): (batch, heads, q_len, kv_len),
        }
    if shape not in wanted:
        told = " or ".join(str(list(each)) for each in wanted)
        raise ShapeMismatch(
            f"got {name} of shape {list(shape)}; wanted {told} ({batch} batch rows, {heads} heads, "
            f"{q_len} queries, {kv_len} keys); the batch is outermost in batch * heads."
        )
    return given.reshape(wanted[shape])


def _mask_of(allowed: torch.Tensor, sizes: Sizes) -> Mask:
    """Return bools [batch|1, heads|1, q_len|1, kv_len] as a mask at these positions, kept."""
    array = allowed.cpu().numpy()
    name = (array.shape, np.packbits(array).tobytes(), sizes.q_offset)
    size = array.size + len(name[1])
    return _STORE.get(name, lambda: _Kept(_short_mask(array, sizes), size)).mask


def _short_mask(allowed: np.ndarray, sizes: Sizes) -> Mask:
    if not allowed.size or allowed.all():
        return EVERYTHING
    for axis in range(3):
        first = allowed.take([0], axis=axis)
        if np.array_equal(np.broadcast_to(first, allowed.shape), allowed):
            allowed = first
    batch, heads, q_len, kv_len = allowed.shape
    if heads == q_len == 1:
        return padding(valid=allowed[:, 0, 0])
    if batch == heads == 1 and np.array_equal(allowed[0, 0], np.tri(q_len, kv_len, dtype=bool)):
        return CAUSAL.shift(query=sizes.q_offset)
    whole = np.broadcast_to(allowed, (batch, heads, sizes.q_len, kv_len))
    return dense(whole, means="attend").shift(query=sizes.q_offset)


def _read_queries(given: Any, sizes: Sizes) -> Mask:
    if isinstance(given, Mask):
        return given
    _refuse_shared_tensor("query_mask")
    if not isinstance(given, torch.Tensor) or given.dtype != torch.bool:
        got = str(given.dtype) if isinstance(given, torch.Tensor) else type(given).__name__
        raise InvalidArgument(
            f"got query_mask of type {got}; wanted a bool tensor [batch, queries], True for a real "
            "query, or a sightline mask such as sl.padding(lengths=[5, 3]).T."
        )
    if tuple(given.shape) != (sizes.batch, sizes.q_len):
        raise ShapeMismatch(
            f"got query_mask of shape {list(given.shape)}; wanted {[sizes.batch, sizes.q_len]} "
            "[batch, queries]."
        )
    shaped = given[:, None, None, :]
    # As if the queries were keys, and then swapped.
    as_keys = _mask_of(shaped, sizes._replace(q_len=1, kv_len=sizes.q_len, q_offset=0))
    return as_keys.T.shift(query=sizes.q_offset)

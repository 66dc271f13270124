"""Attention weights beside the mask they should obey: read from any library, and checked.

Everything is counted here, on the numbers as they were given; how they look is left to weights.py
and its neighbors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.masks.arguments import describe, mask_wanted
from sightline.masks.arrays import as_numpy
from sightline.masks.mask import Mask

__all__ = ["Attention", "Where", "read_attention"]

_AXES = "[heads, Q, K], [batch, heads, Q, K] or [layers, batch, heads, Q, K]"
# How far a row's sum may be from 1: what rounding to the type of the weights explains.
_LOOSE, _TIGHT = 5e-3, 1e-4


@dataclass(frozen=True)
class Where:
    """One map of weights: its layer, batch row and head, by the numbers that the caller uses."""

    layer: int
    batch: int
    head: int


@dataclass(frozen=True, eq=False)
class Attention:
    """Weights and mask, side by side.

    Attributes:
        weights: float64 ``[layers, batch, heads, Q, K]``.
        allowed: bool of the same shape (broadcast, not copied).
        layers, batches, heads: the caller's numbers of what is on the first three axes.
        sizes: (layers, batch rows, heads) that were given in all, chosen or not.
        tolerance: how far a row's sum may be from 1.
    """

    weights: NDArray[np.float64]
    allowed: NDArray[np.bool_]
    layers: tuple[int, ...]
    batches: tuple[int, ...]
    heads: tuple[int, ...]
    sizes: tuple[int, int, int]
    tolerance: float

    @property
    def finite(self) -> NDArray[np.bool_]:
        """Where a weight is a number."""
        return np.isfinite(self.weights)

    @property
    def leaks(self) -> NDArray[np.bool_]:
        """Where a forbidden pair carries weight, or what is not a number."""
        return np.logical_and(~self.allowed, self.weights != 0)

    @property
    def negative(self) -> NDArray[np.bool_]:
        """Where a weight is below 0, which no softmax gives."""
        return self.weights < 0

    @property
    def empty(self) -> NDArray[np.bool_]:
        """Queries that may see nothing, ``[layers, batch, heads, Q]``."""
        return np.equal(np.count_nonzero(self.allowed, axis=-1), 0)

    @property
    def sums(self) -> NDArray[np.float64]:
        """What the weights of each query add up to; NaN where one of them is not a number."""
        with np.errstate(invalid="ignore"):
            total = self.weights.sum(axis=-1)
        return np.where(np.isfinite(total), total, np.nan)

    @cached_property
    def uneven(self) -> NDArray[np.bool_]:
        """Queries whose weights should add up to 1 and do not; those with NaN are no such."""
        sums = self.sums
        return ~self.empty & (np.abs(sums - 1.0) > self.tolerance)  # NaN is not above anything

    @cached_property
    def faults(self) -> dict[str, NDArray[np.int64]]:
        """How much is wrong in each map, in the order of the maps; a weight counts once."""
        finite = self.finite
        found = {
            "leaks": (self.leaks & finite).sum(axis=(3, 4)),
            "broken": (~finite).sum(axis=(3, 4)),
            "negative": (self.negative & finite & self.allowed).sum(axis=(3, 4)),
            "uneven": self.uneven.sum(axis=3),
        }
        return {name: numbers.reshape(-1) for name, numbers in found.items()}

    def maps(self) -> list[tuple[Where, tuple[int, int, int]]]:
        """Return every map: its numbers, and its place on the first three axes."""
        return [
            (Where(self.layers[i], self.batches[j], self.heads[k]), (i, j, k))
            for i, j, k in np.ndindex(self.weights.shape[:3])
        ]


def read_attention(
    weights: Any,
    mask: Mask | Sequence[Mask],
    *,
    q_offset: int = 0,
    layer: int | Sequence[int] | None = None,
    batch: int | Sequence[int] | None = None,
    head: int | Sequence[int] | None = None,
    most: int | None = None,
) -> Attention:
    """Return chosen weights beside their mask; see ``draw_weights`` for what is taken.

    More than ``most`` weights are refused before anything is copied.

    >>> import sightline as sl
    >>> seen = read_attention(np.full((1, 2, 2), 0.5), sl.causal())
    >>> int(seen.leaks.sum()), seen.uneven.any()
    (1, np.False_)

    Raises:
        InvalidArgument: weights that are none, or a layer, batch row or head that is not there.
        ShapeMismatch: weights of another rank, layers of different shapes, a mask whose batch rows
            or heads do not fit.
    """
    arrays, loose = _arrays(weights)
    sizes = len(arrays), *arrays[0].shape[:2]
    layers = _chosen(layer, sizes[0], "layer")
    batches = _chosen(batch, sizes[1], "batch")
    heads = _chosen(head, sizes[2], "head")
    masks = _masks(mask, sizes[0])
    number = len(layers) * len(batches) * len(heads) * arrays[0][0, 0].size
    if most is not None and number > most:
        raise InvalidArgument(
            f"{len(layers)} layers x {len(batches)} batch rows x {len(heads)} heads of "
            f"{arrays[0].shape[2]} x {arrays[0].shape[3]} are {number} weights, and one drawing "
            f"shows at most {most}; choose with layer=, batch= and head=, or give a part."
        )
    kept = np.ix_(batches, heads)
    values = np.stack([arrays[each][kept].astype(np.float64) for each in layers])
    allowed = {each: _allowed(masks[each], arrays[0].shape, q_offset) for each in layers}
    return Attention(
        weights=values,
        allowed=np.stack([allowed[each][kept] for each in layers]),
        layers=layers,
        batches=batches,
        heads=heads,
        sizes=cast("tuple[int, int, int]", sizes),
        tolerance=_LOOSE if loose else _TIGHT,
    )


def _arrays(weights: Any) -> tuple[list[NDArray[Any]], bool]:
    """Return the weights of each layer ``[batch, heads, Q, K]``, and if their type is coarse."""
    if isinstance(weights, (list, tuple)):
        layers = [_array(each, f"the weights of layer {n}") for n, each in enumerate(weights)]
        if not layers:
            raise InvalidArgument("got an empty list of weights; give one array for each layer.")
    else:
        whole = _array(weights, "weights")
        layers = list(whole) if whole.ndim == 5 else [whole]
    coarse = any(_is_coarse(each) for each in _each(weights))
    layers = [each[None] if each.ndim == 3 else each for each in layers]
    for place, each in enumerate(layers):
        if each.ndim != 4:
            raise ShapeMismatch(
                f"got weights of shape {list(each.shape)}; wanted {_AXES}, or a list of the first "
                "two over layers. A single map is weights[None]."
            )
        if each.shape != layers[0].shape:
            raise ShapeMismatch(
                f"the weights of layer {place} have shape {list(each.shape)}, those of layer 0 "
                f"{list(layers[0].shape)}; draw layers of different shapes apart."
            )
    if not layers or not layers[0].size:
        shape = list(layers[0].shape) if layers else [0]
        raise ShapeMismatch(f"got weights of shape {shape}, in which there is nothing to draw.")
    return layers, coarse


def _each(weights: Any) -> Sequence[Any]:
    return weights if isinstance(weights, (list, tuple)) else [weights]


def _is_coarse(array: Any) -> bool:
    return str(getattr(array, "dtype", "")).endswith(("float16", "bfloat16", "half"))


def _array(value: Any, what: str) -> NDArray[Any]:
    if value is None:
        raise InvalidArgument(
            f"{what}: got None. A model that computes attention without its weights returns none; "
            'in Hugging Face load it with attn_implementation="eager".'
        )
    try:
        array = as_numpy(value)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"{what}: got {describe(value)}, wanted an array.") from error
    if array.dtype.kind not in "fiu":
        raise InvalidArgument(
            f"{what}: got numbers of type {array.dtype}, wanted real numbers, the softmax's."
        )
    return array


def _chosen(given: object, size: int, name: str) -> tuple[int, ...]:
    """Return the numbers of an axis to show; None is all, negative ones count from the end."""
    if given is None:
        return tuple(range(size))
    several = (
        list(cast("Sequence[Any]", given)) if isinstance(given, (list, tuple, range)) else None
    )
    found: list[int] = []
    for each in [given] if several is None else several:
        if isinstance(each, bool) or not isinstance(each, (int, np.integer)):
            raise InvalidArgument(
                f"got {name}={describe(given)}; wanted a number, several, or None for all."
            )
        if not -size <= each < size:
            raise InvalidArgument(f"got {name}={int(each)}, but there are {size}, counted from 0.")
        found.append(int(each) % size)
    if not found:
        raise InvalidArgument(f"got {name}=[], which shows nothing; None is all of them.")
    return tuple(dict.fromkeys(found))


def _masks(mask: object, layers: int) -> list[Mask]:
    """Return the mask of each layer."""
    if isinstance(mask, Mask):
        return [mask] * layers
    several = list(cast("Sequence[Any]", mask)) if isinstance(mask, (list, tuple)) else [mask]
    for each in several:
        if not isinstance(each, Mask):
            raise InvalidArgument(
                "draw_weights wants a mask, or a list with one for each layer, " + mask_wanted(each)
            )
    if len(several) != layers:
        raise ShapeMismatch(f"got {len(several)} masks for {layers} layers of weights.")
    return cast("list[Mask]", several)


def _allowed(mask: Mask, shape: tuple[int, ...], q_offset: int) -> NDArray[np.bool_]:
    """Return the mask ``[batch, heads, Q, K]`` as the weights have it."""
    for name, own, given in (("batch rows", mask.batch, shape[0]), ("heads", mask.heads, shape[1])):
        if own not in (1, given):
            raise ShapeMismatch(
                f"the mask has {own} {name}, the weights {given}; these must agree, or be 1 in the "
                "mask."
            )
    dense = mask.dense(shape[2], shape[3], q_offset=q_offset)
    return np.broadcast_to(dense, shape)

"""Which parts of a tensor inside a model must not change, and whether they did.

A tensor is judged by the sizes of its axes: one of them is a sequence, one is the batch. Of each
position one number is kept, so that a pass over a large model costs little memory; localize.py and
operations.py compare these.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray

Bools = NDArray[np.bool_]

# Tensors of torch.func and torch.vmap have no numbers that can be read.
_FUNCTORCH: Any = cast("Any", torch._C)._functorch.is_functorch_wrapped_tensor
# A change of this many units in the last place of a position's size may be rounding.
ROUNDING = 64
# Beyond this size numbers are kept by their logarithm: constants of masks would drown the rest.
_LARGE = 1e5
# How deep containers of tensors are looked into.
_DEEP = 4


class Axes(NamedTuple):
    """Where batch and sequence lie in a shape.

    Attributes:
        batch: the axis of the batch, perhaps together with heads; None if there is none.
        sequence: the axis of the positions; None if batch and sequence are one axis, or if the
            tensor has one state for each batch row.
        keys: the axis of the keys of scores or weights; None for states.
        flat: the sequence length, where ``batch`` is batch and sequence in one; else 0.
    """

    batch: int | None
    sequence: int | None
    keys: int | None = None
    flat: int = 0


def axes_of(shape: tuple[int, ...], lengths: frozenset[int], batch: int) -> Axes | None:
    """Return where batch and sequence lie; None where the sizes do not say.

    Args:
        shape: of a tensor.
        lengths: of the sequences that are known; 0 stands for states without a sequence axis.
        batch: the number of batch rows.

    >>> axes_of((3, 4, 7, 8), frozenset({7}), 3)
    Axes(batch=0, sequence=2, keys=None, flat=0)
    >>> axes_of((7, 3, 8), frozenset({7}), 3).sequence
    0
    >>> axes_of((3, 4, 7, 7), frozenset({7}), 3).keys
    3
    >>> axes_of((21, 8), frozenset({7}), 3).flat
    7
    """
    last = len(shape) - 1
    known = [axis for axis, size in enumerate(shape) if size > 1 and size in lengths]
    if last > 2 and known == [last]:  # of so many axes the last one is features
        known = []
    row = shape.index(batch) if batch in shape else None
    if row in known and (row == 0 or len(known) > 1):
        known.remove(row)
    if last >= 1 and last in known and last - 1 in known:
        return Axes(_rows(shape, batch, {last, last - 1}), last - 1, last)
    if known:
        return Axes(_rows(shape, batch, {known[0]}), known[0])
    for length in sorted(lengths, reverse=True):
        if length > 1 and batch * length in shape[:2]:
            return Axes(shape.index(batch * length), None, flat=length)
    if 0 in lengths and shape[:1] == (batch,):
        return Axes(0, None)
    return None


def _rows(shape: tuple[int, ...], batch: int, taken: set[int]) -> int | None:
    free = [axis for axis in range(len(shape)) if axis not in taken]
    for axis in free:
        if shape[axis] == batch:
            return axis
    # Heads that are folded into the batch.
    if free[:1] == [0] and shape[0] % batch == 0:
        return 0
    return None


@dataclass(frozen=True, eq=False)
class Seen:
    """What is kept of a tensor.

    Attributes:
        values: a number for each position, ``[rows, positions]``.
        quiet: the positions that must not change, of the same shape; None if that is not known.
        fine: the relative size of a unit in the last place; 0 for whole numbers.
    """

    values: NDArray[np.float64]
    quiet: Bools | None
    fine: float

    def change(self, other: Seen) -> float:
        """Return how far positions moved that must not, as a part of their size; 0 is not at all.

        Where it is not known which ones must not, all of them count.
        """
        if self.values.shape != other.values.shape:
            return np.inf
        still = np.ones(self.values.shape, dtype=bool) if self.quiet is None else self.quiet
        before, after = self.values[still], other.values[still]
        gap = np.abs(before - after)
        if not gap.any():
            return 0.0
        with np.errstate(over="ignore"):  # beside nothing, a change is as large as can be
            return float(gap.max() / max(np.sqrt(np.mean(before**2)), np.finfo(np.float64).tiny))


@dataclass(eq=False)
class Judge:
    """Looks at tensors; remembers what it saw of those that are still alive and unchanged.

    Attributes:
        quiet: by sequence length bool ``[batch, length]``, True = must not change; under 0 bool
            ``[batch]`` for states without a sequence axis.
    """

    quiet: Mapping[int, Bools]
    _known: dict[int, tuple[Any, int, Seen]] = field(default_factory=dict)
    _weights: dict[int, torch.Tensor] = field(default_factory=dict)

    @property
    def batch(self) -> int:
        """The number of batch rows."""
        return len(next(iter(self.quiet.values())))

    def axes(self, shape: tuple[int, ...]) -> Axes | None:
        """Return where batch and sequence lie in a shape."""
        return axes_of(tuple(shape), frozenset(self.quiet), self.batch)

    def see(self, tensor: torch.Tensor, *, features_last: bool = False) -> Seen | None:
        """Return what is kept of a tensor; None if its numbers cannot be read.

        Args:
            tensor: the tensor.
            features_last: its last axis is known to be features, whatever its size.
        """
        if _FUNCTORCH(tensor) or not tensor.numel():
            return None
        if tensor.layout is not torch.strided or tensor.is_nested or tensor.device.type == "meta":
            return None
        version = -1 if tensor.is_inference() else tensor._version
        known = self._known.get(id(tensor))
        if known is not None and known[0]() is tensor and known[1] == version >= 0:
            return known[2]
        try:
            with torch.no_grad():
                seen = self._look(tensor.detach(), features_last)
        except (RuntimeError, NotImplementedError, TypeError):  # of a kind that has no numbers
            return None
        self._known[id(tensor)] = (weakref.ref(tensor), version, seen)
        return seen

    def _look(self, tensor: torch.Tensor, features_last: bool) -> Seen:
        axes = self.axes(tuple(tensor.shape))
        if axes is not None and axes.sequence == tensor.ndim - 1 and features_last:
            axes = None
        fine = torch.finfo(tensor.dtype).eps if tensor.is_floating_point() else 0.0
        if tensor.is_complex():
            fine = torch.finfo(tensor.dtype).eps
            tensor = torch.view_as_real(tensor)
        tensor = tensor.double()
        if axes is None:
            return Seen(self._numbers(tensor.reshape(1, 1, 1, -1), None), None, fine)
        if axes.flat:
            assert axes.batch is not None
            shape = list(tensor.shape)
            shape[axes.batch : axes.batch + 1] = [self.batch, axes.flat]
            axes = Axes(axes.batch, axes.batch + 1)
            tensor = tensor.reshape(shape)
        if axes.sequence is None:
            values = self._numbers(tensor.reshape(len(tensor), 1, 1, -1), None)
            return Seen(values, self.quiet[0][:, None], fine)
        quiet = self._rows_of(tensor.shape[axes.sequence], axes, tensor)
        keys = None if axes.keys is None else self._rows_of(tensor.shape[axes.keys], axes, tensor)
        return Seen(self._numbers(_in_order(tensor, axes), keys), quiet, fine)

    def _rows_of(self, length: int, axes: Axes, tensor: torch.Tensor) -> Bools:
        """Return what is quiet for each row of the tensor's batch axis."""
        quiet = self.quiet[length]
        if axes.batch is None:
            return np.asarray(quiet.all(axis=0, keepdims=True))
        rows = np.arange(tensor.shape[axes.batch])
        # Heads within rows, or rows within heads: only what is quiet either way.
        return quiet[rows // (len(rows) // self.batch)] & quiet[rows % self.batch]

    def _numbers(self, tensor: torch.Tensor, keys: Bools | None) -> NDArray[np.float64]:
        """Return ``[rows, positions]`` of ``[rows, others, positions, features]``."""
        weights = self._weighted(tensor.shape[1] * tensor.shape[3])
        weights = weights.reshape(1, tensor.shape[1], tensor.shape[3])
        if keys is not None:
            weights = weights * torch.from_numpy(keys)[:, None, :]
        weights = weights.to(tensor.device)
        found = torch.matmul(tensor, weights[..., None])
        if not bool((found.abs() < _LARGE).all()):
            size = tensor.abs().nan_to_num(1e300, 1e301).clamp(min=1.0)
            small = torch.where(tensor < 0, -1.0, 1.0) * (777.0 + size.log())
            found = torch.matmul(torch.where(size < _LARGE, tensor, small), weights[..., None])
        return found.sum(dim=1).squeeze(-1).cpu().numpy()

    def _weighted(self, count: int) -> torch.Tensor:
        if count not in self._weights:
            numbers = np.random.default_rng(count).uniform(0.5, 1.5, count)
            signs = np.random.default_rng(count + 1).choice([-1.0, 1.0], count)
            self._weights[count] = torch.from_numpy(numbers * signs)
        return self._weights[count]


def _in_order(tensor: torch.Tensor, axes: Axes) -> torch.Tensor:
    """Return a tensor as ``[rows, others, positions, features]``."""
    assert axes.sequence is not None
    if axes.batch is None:
        keys = None if axes.keys is None else axes.keys + 1
        tensor, axes = tensor.unsqueeze(0), Axes(0, axes.sequence + 1, keys)
    assert axes.batch is not None
    assert axes.sequence is not None
    rest = [a for a in range(tensor.ndim) if a not in (axes.batch, axes.sequence)]
    before = [a for a in rest if a < axes.sequence]
    after = [a for a in rest if a > axes.sequence]
    if axes.keys is None and not after:  # [batch, features, positions]
        before, after = after, before
    rows, count = tensor.shape[axes.batch], tensor.shape[axes.sequence]
    others = int(np.prod([tensor.shape[a] for a in before], dtype=int))
    order = tensor.permute(axes.batch, *before, axes.sequence, *after)
    return order.reshape(rows, others, count, -1)


def tensors_in(value: Any, name: str = "", deep: int = _DEEP) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors in nested containers, each with the way to it."""
    if isinstance(value, torch.Tensor):
        yield name, value
        return
    members: list[tuple[Any, Any]] = []
    if isinstance(value, Mapping):
        members = list(cast("Mapping[Any, Any]", value).items())
    elif isinstance(value, (list, tuple)):
        members = list(enumerate(cast("list[Any]", value)))
    elif is_dataclass(value) and not isinstance(value, type):
        members = [(each.name, getattr(value, each.name)) for each in fields(value)]
    for key, each in members if deep else ():
        yield from tensors_in(each, f"{name}.{key}", deep - 1)

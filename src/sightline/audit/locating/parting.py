"""Where two passes that must agree part: the first module that returns another for the same.

One pass holds everything (a padded batch, a whole text), the others a part of it (a row alone, a
piece behind a cache). They are compared where they speak of the same rows and positions; sizes say
which axes those are. Leaks within one form of the inputs are localize.py's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from sightline.audit.findings import Place
from sightline.audit.locating.calls import put_right, replaced_call
from sightline.audit.locating.quiet import tensors_in

# Differences of two ways to compute the same: parts of a tensor's size that are rounding.
ROUNDING = {torch.float64: 1e-9, torch.float32: 1e-4}
COARSE = 3e-2
# Larger tensors are not kept, and so not compared.
MOST_NUMBERS = 2**24


@dataclass(frozen=True)
class Part:
    """Which part of the whole pass another one holds.

    Attributes:
        batch: the rows of the whole.
        length: its positions.
        row: the row that is held; None is all of them.
        start: the first position that is held.
        stop: the one after the last.
    """

    batch: int
    length: int
    row: int | None
    start: int
    stop: int

    def of(self, whole: torch.Tensor, shape: Sequence[int]) -> torch.Tensor | None:
        """Return the part of a tensor of the whole that one of this shape holds; None if unclear.

        >>> part = Part(batch=3, length=7, row=1, start=2, stop=6)
        >>> part.of(torch.zeros(3, 7, 5), (1, 4, 5)).shape
        torch.Size([1, 4, 5])
        """
        if whole.ndim != len(shape):
            return None
        if self.row is None and not self._shows_positions(whole.shape, shape):
            return None
        part: torch.Tensor | None = whole
        for axis, size in enumerate(shape):
            part = None if part is None else self._along(part, axis, size)
        return part

    def _shows_positions(self, whole: Sequence[int], piece: Sequence[int]) -> bool:
        """Return whether an axis is cut; a summary, or a cache, is another in each pass."""
        cuts = {(self.length, self.stop - self.start), (self.length, self.stop)}
        cuts.add((self.batch * self.length, self.batch * (self.stop - self.start)))
        return any(pair in cuts for pair in zip(whole, piece, strict=True))

    def _along(self, part: torch.Tensor, axis: int, size: int) -> torch.Tensor | None:
        count, have = self.stop - self.start, part.shape[axis]
        if have == self.length and size == count:
            return part.narrow(axis, self.start, count)
        if have == size:
            return part
        rows = self.batch if self.row is None else 1
        if have == self.length and size == self.stop:
            return part.narrow(axis, 0, size)  # keys: what was cached, and what is new
        if have == self.batch * self.length and size == rows * count:
            both = part.unflatten(axis, (self.batch, self.length))
            both = both.narrow(axis + 1, self.start, count)
            return self._row(both, axis).flatten(axis, axis + 1)
        if self.row is not None and have == size * self.batch:
            return self._row(part.unflatten(axis, (self.batch, size)), axis).flatten(axis, axis + 1)
        if self.start == 0 and size < have < self.length:
            return part.narrow(axis, 0, size)  # fewer positions than inputs: strides, pooling
        return None

    def _row(self, part: torch.Tensor, axis: int) -> torch.Tensor:
        return part if self.row is None else part.narrow(axis, self.row, 1)


@dataclass(eq=False)
class _Call:
    """One call of a module; ``turn`` counts the passes, ``number`` its calls in this one."""

    module: str
    kind: str
    turn: int
    number: int
    parent: _Call | None
    inputs: dict[str, torch.Tensor] = field(default_factory=dict)
    outputs: dict[str, torch.Tensor] = field(default_factory=dict)
    finished: int = -1


def parted(
    model: torch.nn.Module,
    whole: Callable[[], Any],
    pieces: Callable[[], Any],
    parts: Sequence[Part],
) -> Place | None:
    """Return the first module in which two ways to ask for the same part.

    Args:
        model: what both of them run.
        whole: runs it once, on everything.
        pieces: runs it once for each part, in this order.
        parts: what each of these passes holds of the whole.

    Returns:
        The first call to be finished whose inputs agree and whose outputs do not, where they can be
        compared, and which no module around it puts right; None if there is none.

    >>> class Mean(torch.nn.Module):
    ...     def forward(self, x):
    ...         return x.mean(dim=1)
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 4), Mean(), torch.nn.Linear(4, 2))
    >>> x = torch.randn(3, 7, 4)
    >>> alone = Part(batch=3, length=7, row=1, start=0, stop=5)
    >>> str(parted(model, lambda: model(x), lambda: model(x[1:2, :5]), [alone]))
    '1 (Mean)'
    """
    with _watched(model) as first:
        whole()
    with _watched(model) as others:
        pieces()
    known = {(call.module, call.number): call for call in first}
    apart: list[_Call] = []
    right: set[int] = set()
    for call in others:
        other = known.get((call.module, call.number))
        if other is None or call.turn >= len(parts):
            continue
        part = parts[call.turn]
        outputs = _agree(other.outputs, call.outputs, part)
        if outputs:
            right.add(id(call))
        elif outputs is False and _agree(other.inputs, call.inputs, part) is not False:
            apart.append(call)
    guilty = [call for call in apart if not put_right(call, right)]
    if not guilty:
        return None
    earliest = min(guilty, key=lambda call: call.finished)
    return Place(earliest.module, earliest.kind)


def _agree(
    whole: dict[str, torch.Tensor], piece: dict[str, torch.Tensor], part: Part
) -> bool | None:
    """Return whether tensors agree where they can be compared; None where none of them can be."""
    said = [_same(whole[place], x, part) for place, x in piece.items() if place in whole]
    known = [each for each in said if each is not None]
    return all(known) if known else None


def _same(whole: torch.Tensor, piece: torch.Tensor, part: Part) -> bool | None:
    rows = whole.shape[:1] == (part.batch,) and piece.shape[:1] == (1,) and part.row is not None
    if rows and part.batch > 1:
        assert part.row is not None
        whole = whole[part.row : part.row + 1]
    held = part.of(whole, piece.shape)
    if held is None:
        return None
    if not piece.is_floating_point():
        return bool(torch.equal(held, piece))
    a, b = held.double(), piece.double()
    gap = torch.where((a == b) | (a.isnan() & b.isnan()), 0.0, a - b).abs()
    finite = a[a.isfinite()]
    size = float(finite.square().mean().sqrt()) if finite.numel() else 0.0
    limit = ROUNDING.get(piece.dtype, COARSE) * size
    return not bool((gap.isnan() | (gap > limit)).any())


@contextmanager
def _watched(model: torch.nn.Module) -> Iterator[list[_Call]]:
    """Within this, keep what the modules of a model are given and return, pass by pass."""
    calls: list[_Call] = []
    open_calls: list[_Call] = []
    counts: Counter[str] = Counter()
    turn = finished = 0

    def run(
        name: str, module: torch.nn.Module, original: Any, args: tuple[Any, ...], kwargs: Any
    ) -> Any:
        nonlocal turn, finished
        parent = open_calls[-1] if open_calls else None
        call = _Call(name, type(module).__name__, turn, counts[name], parent)
        counts[name] += 1
        call.inputs = _kept((args, kwargs))
        calls.append(call)
        open_calls.append(call)
        try:
            result = original(module, *args, **kwargs)
        finally:
            open_calls.pop()
        call.outputs = _kept(result)
        call.finished = finished
        finished += 1
        if parent is None:
            turn += 1
            counts.clear()
        return result

    with replaced_call(run, model):
        yield calls


def _kept(value: Any) -> dict[str, torch.Tensor]:
    """Return copies of the tensors in nested containers, complex numbers as two."""
    found: dict[str, torch.Tensor] = {}
    for place, tensor in tensors_in(value):
        plain = tensor.layout is torch.strided and not tensor.is_nested and tensor.numel()
        if plain and tensor.device.type != "meta" and tensor.numel() <= MOST_NUMBERS:
            with torch.no_grad():
                copied = tensor.detach().clone()
            found[place] = torch.view_as_real(copied) if copied.is_complex() else copied
    return found

"""Rows whose bits do not depend on their neighbours: for linear layers and activations.

A matrix product may use another kernel for 1, 2 or 3 rows than for 4, and an elementwise function
another one for the last few numbers; last bits then depend on who else is in the batch. Here are
the ways around it, and the probe that says what this machine gives. ``attend`` needs none of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from sightline.errors import InvalidArgument

# Rows are filled up to a multiple of this. Measured: float32 linear layers on CPUs (MKL) give equal
# bits at multiples of 4; twice that leaves room.
ROW_STEP = 8

# The numbers of rows, in steps, that the probe compares.
_PROBED = (1, 2, 3, 4, 5, 7, 12)
# (in, out) of the layers that are probed when no model is given: even sizes, odd ones, a long sum.
_SHAPES = ((64, 48), (48, 100), (96, 7), (768, 2304), (3072, 768))


class RowLayout:
    """Where the tokens of a batch [batch, length] stand among the rows that layers work on.

    Rows that hold no token are left out where they are many, and the rest is filled up to a
    multiple of ``step``, so that each row has the same bits in any batch.

    Args:
        batch: batch rows.
        length: tokens per batch row, padding included.
        counts: [batch] how many of each row's first tokens are real; None where all are.
        step: the multiple.
        device: of the tensors to come.

    >>> import torch
    >>> layout = RowLayout(2, 3, np.array([3, 1]), step=4)
    >>> rows = layout.rows(torch.tensor([[[1.0], [2.0], [3.0]], [[4.0], [0.0], [0.0]]]))
    >>> rows.flatten().tolist()
    [1.0, 2.0, 3.0, 4.0]
    >>> layout.grid(rows)[1].flatten().tolist()
    [4.0, 0.0, 0.0]
    """

    def __init__(
        self,
        batch: int,
        length: int,
        counts: np.ndarray | None = None,
        *,
        step: int = ROW_STEP,
        device: Any = "cpu",
    ) -> None:
        self.batch, self.length = batch, length
        self.real = batch * length
        self.index: torch.Tensor | None = None
        held = self.real if counts is None else int(counts.sum())
        if counts is not None and 0 < held <= 0.9 * self.real:
            real = np.flatnonzero((np.arange(length) < counts[:, None]).reshape(-1))
            self.real = held
            self.index = torch.from_numpy(real).to(device)
        self.filled = -(-self.real // step) * step

    def rows(self, grid: torch.Tensor) -> torch.Tensor:
        """Return the rows [filled, ...] of a tensor [batch, length, ...]; filling is 0."""
        flat = grid.reshape(self.batch * self.length, *grid.shape[2:])
        if self.index is not None:
            flat = flat.index_select(0, self.index)
        return fill_rows(flat, self.filled)

    def grid(self, rows: torch.Tensor) -> torch.Tensor:
        """Return rows [filled, ...] as [batch, length, ...]; 0 where no token is."""
        rows = rows[: self.real]
        if self.index is not None:
            flat = rows.new_zeros(self.batch * self.length, *rows.shape[1:])
            rows = flat.index_copy(0, self.index, rows)
        return rows.view(self.batch, self.length, *rows.shape[1:])


def fill_rows(rows: torch.Tensor, wanted: int) -> torch.Tensor:
    """Return ``rows`` [n, ...] with rows of 0 appended up to ``wanted`` of them."""
    missing = wanted - rows.shape[0]
    if missing == 0:
        return rows
    return torch.cat([rows, rows.new_zeros(missing, *rows.shape[1:])])


def gelu_tanh(x: torch.Tensor) -> torch.Tensor:
    """Return x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))), as GPT-2 has it.

    Without gradients it is put together from steps that round each number alike wherever it
    stands; torch's own kernel, which training uses, ends a run of numbers another way.

    Source: Hendrycks and Gimpel 2016, "Gaussian Error Linear Units", section 2.

    >>> gelu_tanh(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.1588,  0.0000,  0.8412])
    """
    if torch.is_grad_enabled() and x.requires_grad:
        return F.gelu(x, approximate="tanh")
    wide = widened(x)
    factor = math.sqrt(2.0 / math.pi)
    inner = wide * wide
    inner.mul_(factor * 0.044715).add_(factor).mul_(wide).tanh_()
    return inner.add_(1.0).mul_(wide).mul_(0.5).to(x.dtype)


def widened(x: torch.Tensor) -> torch.Tensor:
    """Return ``x`` in float32 if it has half precision, so that several steps round once."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def linear_is_row_invariant(
    dtype: torch.dtype = torch.float32,
    *,
    step: int = ROW_STEP,
    device: Any = "cpu",
    shapes: Iterable[tuple[int, int]] = _SHAPES,
) -> bool:
    """Say whether a row's bits after a linear layer are the same at every multiple of ``step``.

    Found by trying, once for each dtype, device, number of threads and shape.

    Args:
        dtype: of the weights and the rows.
        step: numbers of rows are multiples of this.
        device: where the layer runs.
        shapes: (features in, features out) of the layers.

    Raises:
        InvalidArgument: ``step`` is not positive.

    >>> linear_is_row_invariant(torch.float64, step=8) in (True, False)
    True
    """
    if step < 1:
        raise InvalidArgument(f"got step={step}; wanted a number of rows of at least 1; try 8.")
    threads = torch.get_num_threads()
    place = str(torch.device(device))
    return all(_invariant(*shape, dtype, step, place, threads) for shape in sorted(set(shapes)))


def model_is_row_invariant(model: torch.nn.Module, *, step: int = ROW_STEP) -> bool:
    """Say whether every linear layer of ``model`` has equal bits at every multiple of ``step``.

    >>> model_is_row_invariant(torch.nn.Linear(64, 48), step=8) in (True, False)
    True
    """
    kinds: set[tuple[torch.dtype, str, tuple[int, int], bool]] = set()
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            weight = module.weight
            shape = (module.in_features, module.out_features)
            # A forward of its own: packed.py's.
            kinds.add((weight.dtype, str(weight.device), shape, "forward" in vars(module)))
    threads = torch.get_num_threads()
    return all(
        _invariant(*shape, dtype, step, device, threads, packed)
        for dtype, device, shape, packed in kinds
    )


def can_pack() -> bool:
    """Say whether this torch has linear layers with packed weights."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def pack_weight(weight: torch.Tensor, rows: int) -> torch.Tensor:
    """Return a copy of a linear layer's weight laid out for about so many rows at a time."""
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach(), rows)


def run_packed(rows: torch.Tensor, packed: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Return what ``linear`` returns, from a packed weight."""
    return torch.ops.mkldnn._linear_pointwise(rows, packed, bias, "none", [], "")


@lru_cache(maxsize=256)
def _invariant(
    wide: int,
    out: int,
    dtype: torch.dtype,
    step: int,
    device: str,
    threads: int,
    packed: bool = False,
) -> bool:
    """Return whether multiples of ``step`` rows agree bit for bit; ``threads`` is for the key."""
    generator = torch.Generator().manual_seed(wide * 31 + out)
    most = step * max(_PROBED)
    rows = torch.randn(most, wide, generator=generator).to(device, dtype)
    # A layer of many outputs is probed by its first ones and by what is left over at its end.
    kept = min(out, 4096 + out % 64)
    weight = torch.randn(kept, wide, generator=generator).to(device, dtype)
    bias = torch.randn(kept, generator=generator).to(device, dtype)
    with torch.no_grad():
        run = run_packed if packed else F.linear
        weight = pack_weight(weight, step) if packed else weight
        whole = run(rows, weight, bias)
        return all(
            torch.equal(run(rows[: n * step], weight, bias), whole[: n * step]) for n in _PROBED
        )

"""Where a token stands: rotary, learned and sinusoidal positions, by absolute position.

A position is given with every call, so that a decode step, a packed batch and the full pass say
the same of a token, bit for bit. Which positions tokens have is told by a cache's chunk or a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.nn.caches.arguments import as_size

# Positions whose sines are kept; beyond, they are worked out at each call.
MOST_KEPT = 2**18


class Rotary(torch.nn.Module):
    """Rotary positions: pairs of features turned by an angle that grows with the position.

    Scores of rotated queries and keys depend on the distance of their positions alone. Has no
    parameters. Half precision is rotated in float32 and rounded once.

    Args:
        head_dim: size of a query or key.
        base: the slowest pair turns by ``base ** (2 / size - 1)`` a position, the first one by 1.
        style: which features make a pair: ``"neox"`` the i-th of the first half with the i-th of
            the second (Llama, GPT-NeoX), ``"interleaved"`` neighbours (GPT-J, RoFormer).
        fraction: the share of the features that is rotated, the first ones.

    Raises:
        InvalidArgument: an unknown style, or a number of rotated features that is not even.

    Source: Su et al. 2021, RoFormer, section 3.2.2 and equation 34.

    >>> import sightline as sl, torch
    >>> rotary = sl.nn.Rotary(8)
    >>> x = torch.ones(1, 1, 2, 8)
    >>> at_3_and_5, at_7_and_9 = (rotary.rotate(x, torch.tensor([p])) for p in ([3, 5], [7, 9]))
    >>> products = [(r[0, 0, 0] @ r[0, 0, 1]).item() for r in (at_3_and_5, at_7_and_9)]
    >>> abs(products[0] - products[1]) < 1e-5
    True
    """

    def __init__(
        self,
        head_dim: int,
        base: float = 10000.0,
        style: str = "neox",
        fraction: float = 1.0,
    ) -> None:
        super().__init__()
        self.head_dim = as_size(head_dim, "head_dim")
        self.base = _base(base)
        if style not in ("neox", "interleaved"):
            raise InvalidArgument(
                f"got style={style!r}; wanted 'neox' (halves are paired, as in Llama) or "
                "'interleaved' (neighbours are paired, as in GPT-J)."
            )
        self.style = style
        self.fraction = float(fraction)
        self.rotated = int(self.head_dim * self.fraction) if 0 < self.fraction <= 1 else 0
        if self.rotated < 2 or self.rotated % 2:
            raise InvalidArgument(
                f"got fraction={fraction} of head_dim={head_dim}, {self.rotated} features; wanted "
                "an even number of at least 2, and a fraction above 0 and up to 1."
            )
        self._kept = KeptRows(self._turns)

    def _turns(self, positions: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Return cosines, then sines, for positions [n]: [n, rotated]."""
        size, device = self.rotated, positions.device
        # As everywhere: frequencies and angles in the working dtype, so that far positions agree.
        exponent = torch.arange(0, size, 2, device=device).to(dtype) / size
        angle = positions.to(dtype)[:, None] * (1.0 / self.base**exponent)
        # In float64, where how a processor works out a sine leaves no trace after rounding.
        angle = angle.double()
        return torch.cat([angle.cos(), angle.sin()], dim=-1).to(dtype)

    def cos_sin(
        self, positions: torch.Tensor, dtype: torch.dtype = torch.float32
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return cosines and sines of the angles at positions [...], [..., rotated / 2] each."""
        cos, sin = self._kept.at(positions, dtype).chunk(2, dim=-1)
        return cos, sin

    def rotate(self, x: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Return queries or keys turned to their positions.

        Args:
            x: [batch, heads, sequence, head_dim].
            positions: integers [batch, sequence] or [1, sequence].

        Raises:
            ShapeMismatch: sizes that do not fit.
            InvalidArgument: positions that are no integers, or negative.
        """
        _check_positions(positions)
        if x.ndim != 4 or x.shape[3] != self.head_dim:
            raise ShapeMismatch(
                f"got x of shape {list(x.shape)}; wanted [batch, heads, sequence, "
                f"{self.head_dim}]; split the heads first."
            )
        if positions.shape not in ((x.shape[0], x.shape[2]), (1, x.shape[2])):
            raise ShapeMismatch(
                f"got positions of shape {list(positions.shape)} for x of shape {list(x.shape)}; "
                f"wanted [{x.shape[0]}, {x.shape[2]}] or [1, {x.shape[2]}], one for each token."
            )
        working = torch.float64 if x.dtype == torch.float64 else torch.float32
        cos, sin = self.cos_sin(positions, working)
        return turn(x, cos[:, None], sin[:, None], self.style)

    def forward(self, x: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Do the same as ``rotate``."""
        return self.rotate(x, positions)

    def extra_repr(self) -> str:
        """Say the arguments."""
        return f"{self.head_dim}, base={self.base}, style={self.style!r}, fraction={self.fraction}"


def turn(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, style: str) -> torch.Tensor:
    """Return x [..., head_dim] with its first pairs turned by cos and sin [..., pairs]."""
    size = 2 * cos.shape[-1]
    kept = x.to(cos.dtype)
    if style == "neox":
        first, second = kept[..., : size // 2], kept[..., size // 2 : size]
    else:
        first, second = kept[..., 0:size:2], kept[..., 1:size:2]
    turned = first * cos - second * sin, second * cos + first * sin
    both = torch.cat(turned, dim=-1) if style == "neox" else torch.stack(turned, -1).flatten(-2)
    both = both.to(x.dtype)
    return both if size == x.shape[-1] else torch.cat([both, x[..., size:]], dim=-1)


class LearnedPositions(torch.nn.Module):
    """A learned vector for each position, to be added to the tokens' vectors.

    Args:
        max_len: how many positions there are.
        dim: size of a vector.

    Source: Gehring et al. 2017, Convolutional Sequence to Sequence Learning, section 3.1.

    >>> import sightline as sl, torch
    >>> sl.nn.LearnedPositions(16, 6)(torch.tensor([[0, 1, 2], [5, 6, 7]])).shape
    torch.Size([2, 3, 6])
    """

    def __init__(self, max_len: int, dim: int) -> None:
        super().__init__()
        self.max_len, self.dim = as_size(max_len, "max_len"), as_size(dim, "dim")
        self.weight = torch.nn.Parameter(torch.empty(self.max_len, self.dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the vectors from a normal distribution of deviation 0.02, as GPT-2 and BERT do."""
        torch.nn.init.normal_(self.weight, std=0.02)

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        """Return the vectors of positions [batch|1, sequence]: [batch|1, sequence, dim].

        Raises:
            InvalidArgument: positions that are no integers, negative, or beyond ``max_len``.
        """
        _check_positions(positions)
        if positions.device.type == "cpu" and positions.numel() and not _compiling():
            least, most = (int(end) for end in positions.aminmax())
            if least < 0 or most >= self.max_len:
                raise InvalidArgument(
                    f"got positions from {least} to {most}; wanted 0 to {self.max_len - 1}; make "
                    f"the module with max_len={most + 1} or more, or cut the sequences."
                )
        return torch.nn.functional.embedding(positions, self.weight)

    def extra_repr(self) -> str:
        """Say the arguments."""
        return f"{self.max_len}, {self.dim}"


class SinusoidalPositions(torch.nn.Module):
    """Fixed vectors of sines and cosines of the position, to be added to the tokens' vectors.

    Has no parameters and no largest position.

    Args:
        dim: size of a vector, even.
        base: the slowest wave has a length of about ``2 pi base`` positions.
        layout: ``"interleaved"``: sine and cosine of a frequency stand side by side, as in the
            paper; ``"halves"``: all sines, then all cosines (tensor2tensor, Marian).

    Raises:
        InvalidArgument: an odd ``dim``, or an unknown layout.

    Source: Vaswani et al. 2017, section 3.5.

    >>> import sightline as sl, torch
    >>> sl.nn.SinusoidalPositions(4)(torch.tensor([[0, 1]])).round(decimals=4)
    tensor([[[0.0000, 1.0000, 0.0000, 1.0000],
             [0.8415, 0.5403, 0.0100, 1.0000]]])
    """

    def __init__(self, dim: int, base: float = 10000.0, layout: str = "interleaved") -> None:
        super().__init__()
        self.dim, self.base = as_size(dim, "dim"), _base(base)
        if self.dim % 2 or layout not in ("interleaved", "halves"):
            raise InvalidArgument(
                f"got dim={dim} and layout={layout!r}; wanted an even dim, and 'interleaved' or "
                "'halves'."
            )
        self.layout = layout
        self._kept = KeptRows(self._waves)

    def _waves(self, positions: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        exponent = torch.arange(0, self.dim, 2, device=positions.device).double() / self.dim
        angle = positions.double()[:, None] / self.base**exponent
        both = angle.sin(), angle.cos()
        return (torch.cat(both, -1) if self.layout == "halves" else _side_by_side(both)).to(dtype)

    def forward(self, positions: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Return the vectors of positions [batch|1, sequence]: [batch|1, sequence, dim].

        Raises:
            InvalidArgument: positions that are no integers, or negative.
        """
        _check_positions(positions)
        return self._kept.at(positions, dtype)

    def extra_repr(self) -> str:
        """Say the arguments."""
        return f"{self.dim}, base={self.base}, layout={self.layout!r}"


class KeptRows:
    """Rows worked out once for each position, so that a position has the same bits ever after."""

    def __init__(self, make: Callable[[torch.Tensor, torch.dtype], torch.Tensor]) -> None:
        self._make = make
        self._rows: dict[torch.dtype, torch.Tensor] = {}

    def at(self, positions: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Return the rows of positions [...], as [..., width]."""
        if positions.device.type != "cpu" or not positions.numel() or _compiling():
            return self._made(positions, dtype)
        least, most = (int(end) for end in positions.aminmax())
        if least < 0:
            raise InvalidArgument(
                f"got position {least}; wanted positions of at least 0; padding on the left has "
                "position 0 or any other, for nothing looks at it."
            )
        if most >= MOST_KEPT:
            return self._made(positions, dtype)
        rows = self._rows.get(dtype)
        if rows is None or most >= len(rows):
            rows = self._rows[dtype] = self._grown(rows, most + 1, dtype)
        return torch.nn.functional.embedding(positions, rows)

    def _made(self, positions: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        return self._make(positions.reshape(-1), dtype).unflatten(0, positions.shape)

    def _grown(self, rows: torch.Tensor | None, length: int, dtype: torch.dtype) -> torch.Tensor:
        """Return the rows with new ones behind them; what was there stays as it is."""
        first = 0 if rows is None else len(rows)
        with torch.inference_mode(False):
            new = self._make(torch.arange(first, max(length, 2 * first, 64)), dtype)
            return new if rows is None else torch.cat([rows, new])


def _side_by_side(both: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return torch.stack(both, dim=-1).flatten(-2)


def _base(base: Any) -> float:
    if not float(base) > 1:
        raise InvalidArgument(f"got base={base!r}; wanted a number above 1, such as 10000.0.")
    return float(base)


def _compiling() -> bool:
    return torch.compiler.is_compiling()


def _check_positions(positions: Any) -> None:
    integers = (torch.int64, torch.int32)
    if not isinstance(positions, torch.Tensor) or positions.dtype not in integers:
        got = getattr(positions, "dtype", type(positions).__name__)
        raise InvalidArgument(
            f"got positions of type {got}; wanted a tensor of integers [batch|1, sequence], such "
            "as torch.arange(length)[None]."
        )
    if positions.ndim != 2:
        raise ShapeMismatch(
            f"got positions of shape {list(positions.shape)}; wanted [batch|1, sequence]; add an "
            "axis with positions[None]."
        )

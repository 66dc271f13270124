"""Attention whose output at i depends on what comes before i alone, proved by its gradient.

To forbid a position to see itself (``causal(strict=True)``) does not make it so: the query is made
from the token itself, and a residual connection carries it past attention (PyTorch issue 143287).
Here queries, and the residual, are made from the token before. Attention itself is in attention.py.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from sightline.engines.shared import refuse_shared
from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.masks.mask import Mask
from sightline.masks.positional import causal
from sightline.nn.attention import MultiheadAttention

__all__ = ["ShiftedQueryAttention", "shift_queries"]

STRICT = causal(strict=True)


def shift_queries(
    inputs: torch.Tensor, start: torch.Tensor, begins: torch.Tensor | None = None
) -> torch.Tensor:
    """Return inputs moved one position to the right: row i holds what stood at i - 1.

    Args:
        inputs: [batch, length, features].
        start: [features], what stands before the first token.
        begins: bool [batch, length], True where a sequence begins in the middle of a row (packed
            documents, left padding); those positions get ``start`` too. None: only position 0.

    Raises:
        ShapeMismatch: sizes that do not fit.
        InvalidArgument: ``begins`` is not bool.

    >>> import torch
    >>> inputs = torch.tensor([[[1.0], [2.0], [3.0]]])
    >>> shift_queries(inputs, torch.tensor([-1.0])).flatten().tolist()
    [-1.0, 1.0, 2.0]
    >>> begins = torch.tensor([[False, False, True]])
    >>> shift_queries(inputs, torch.tensor([-1.0]), begins).flatten().tolist()
    [-1.0, 1.0, -1.0]
    """
    refuse_shared("sl.nn.shift_queries")
    if inputs.ndim != 3 or start.shape != inputs.shape[2:]:
        raise ShapeMismatch(
            f"got inputs {list(inputs.shape)} and start {list(start.shape)}; wanted [batch, "
            "length, features] and [features]."
        )
    batch, length, features = inputs.shape
    first = start.to(inputs.dtype).expand(batch, min(length, 1), features)
    moved = torch.cat([first, inputs[:, : max(length - 1, 0)]], dim=1)
    if begins is None:
        return moved
    if begins.dtype != torch.bool:
        raise InvalidArgument(f"got begins of dtype {begins.dtype}; wanted bools.")
    if begins.shape != inputs.shape[:2]:
        raise ShapeMismatch(
            f"got begins {list(begins.shape)}; wanted {[batch, length]} [batch, length]."
        )
    return torch.where(begins[..., None], start.to(inputs.dtype), moved)


class ShiftedQueryAttention(nn.Module):
    """Multi-head attention of which output i is a function of the inputs before i alone.

    The query at i is made from the input at i - 1 (from a learned ``start`` at 0), keys and values
    from the inputs, and nobody sees itself or what comes after. Stack it as the first layer of a
    model and let all later ones be causal: the shift stays one position however deep.

    Args:
        embed_dim: features.
        num_heads: heads.
        residual: add the shifted inputs to the output (never the inputs themselves, which would
            carry token i to output i).
        options: those of ``MultiheadAttention``, apart from ``batch_first``, which is True.

    Raises:
        InvalidArgument: as for ``MultiheadAttention``.

    Source: the query stream of XLNet (Yang et al. 2019, section 2.3) has the same purpose.

    >>> import sightline as sl, torch
    >>> layer = sl.nn.ShiftedQueryAttention(8, 2)
    >>> x = torch.randn(1, 4, 8, requires_grad=True)
    >>> layer(x)[0, 2].sum().backward()
    >>> (x.grad[0] != 0).any(dim=1)
    tensor([ True,  True, False, False])
    """

    def __init__(
        self, embed_dim: int, num_heads: int, *, residual: bool = True, **options: Any
    ) -> None:
        if not options.setdefault("batch_first", True):
            raise InvalidArgument(
                "got batch_first=False; wanted inputs [batch, length, features]; transpose them."
            )
        super().__init__()
        self.attention = MultiheadAttention(embed_dim, num_heads, **options)
        where = {"device": options.get("device"), "dtype": options.get("dtype")}
        self.start = nn.Parameter(torch.empty(embed_dim, **where))
        nn.init.normal_(self.start, std=embed_dim**-0.5)
        self.residual = residual

    def forward(
        self,
        inputs: torch.Tensor,
        mask: Mask | None = None,
        *,
        begins: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return [batch, length, embed_dim].

        Args:
            inputs: [batch, length, embed_dim].
            mask: a sightline mask that holds besides strictly-before; None for no other.
            begins: bool [batch, length], True where a sequence begins; see ``shift_queries``. Give
                it with packed documents, whose first token has no token before.

        Raises:
            ShapeMismatch: sizes that do not fit.
        """
        queries = shift_queries(inputs, self.start, begins)
        output, _ = self.attention(queries, inputs, need_weights=False, attn_mask=STRICT, mask=mask)
        return queries + output if self.residual else output

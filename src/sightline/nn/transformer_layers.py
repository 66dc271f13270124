"""One layer of an encoder, one of a decoder: torch's parameters and calls, Sightline's attention.

Stacks of them and the whole model are in transformer.py. There is no fast path that computes
something else in evaluation: one way for all.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from sightline.errors import CannotExpress
from sightline.masks.mask import Mask
from sightline.nn.attention import MultiheadAttention
from sightline.nn.linear import linear
from sightline.nn.silent import Activation, activate, activation_of, layer_norm

__all__ = ["TransformerDecoderLayer", "TransformerEncoderLayer"]


class _Layer(nn.Module):
    """What both layers share: a feed-forward part, and how a part and its norm are joined."""

    linear1: nn.Linear
    linear2: nn.Linear
    dropout: nn.Dropout
    activation: Activation
    norm_first: bool

    def _make_feed_forward(self, d_model: int, width: int, dropout: float, **options: Any) -> None:
        self.linear1 = nn.Linear(d_model, width, **options)
        self.dropout = nn.Dropout(dropout)
        self.linear2 = nn.Linear(width, d_model, **options)

    def _feed_forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = activate(linear(x, self.linear1.weight, self.linear1.bias), self.activation)
        return linear(self.dropout(hidden), self.linear2.weight, self.linear2.bias)

    def _join(self, x: torch.Tensor, part: Any, norm: nn.LayerNorm, dropout: nn.Dropout) -> Any:
        """Return x with what ``part`` makes of it: norm in front of the part, or after the sum."""
        if self.norm_first:
            return x + dropout(part(layer_norm(x, norm)))
        return layer_norm(x + dropout(part(x)), norm)


class TransformerEncoderLayer(_Layer):
    """Self-attention and a feed-forward part: torch.nn.TransformerEncoderLayer's place and names.

    Weights load both ways. Masks as tensors mean what they mean in torch (True forbids); each of
    them may be a sightline mask instead. Padded positions are computed like all others, in
    training and in evaluation, unless the mask hides them as queries too.

    Args:
        d_model: features.
        nhead: heads.
        dim_feedforward: features of the hidden layer.
        dropout: the rate, of attention weights too.
        activation: "relu", "gelu" or a function.
        layer_norm_eps: what the variance is raised by.
        batch_first: inputs are [batch, length, features]; else [length, batch, features].
        norm_first: norms stand before attention and feed-forward; else after the sums.
        bias: whether linear maps and norms add a bias.
        device: where the parameters live.
        dtype: the parameters' dtype.
        kv_heads: key and value heads; None for as many as ``nhead``.
        positions: what turns queries and keys by their positions; see MultiheadAttention.
        engine: as for ``sl.attend``.

    Source: Vaswani et al. 2017, section 3.1; norm first: Xiong et al. 2020, figure 1.

    >>> import sightline as sl, torch
    >>> layer = sl.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    >>> layer(torch.randn(2, 5, 8), sl.window(left=1, right=1)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Activation = functional.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        kv_heads: int | None = None,
        positions: Any = None,
        engine: str = "auto",
    ) -> None:
        super().__init__()
        where = {"device": device, "dtype": dtype}
        norm = {"eps": layer_norm_eps, "bias": bias, **where}
        attention = {"bias": bias, "batch_first": batch_first, "engine": engine, **where}
        self.self_attn = MultiheadAttention(
            d_model, nhead, dropout, kv_heads=kv_heads, positions=positions, **attention
        )
        self._make_feed_forward(d_model, dim_feedforward, dropout, bias=bias, **where)
        self.norm_first = norm_first
        self.norm1, self.norm2 = nn.LayerNorm(d_model, **norm), nn.LayerNorm(d_model, **norm)
        self.dropout1, self.dropout2 = nn.Dropout(dropout), nn.Dropout(dropout)
        self.activation = activation_of(activation)

    def forward(
        self,
        src: torch.Tensor,
        src_mask: Any = None,
        src_key_padding_mask: Any = None,
        is_causal: bool = False,
        *,
        q_offset: int = 0,
        cache: Any = None,
    ) -> torch.Tensor:
        """Return the layer's output, laid out as ``src``.

        Args:
            src: [batch, length, features], or as ``batch_first`` says; one sequence without batch.
            src_mask: [length, length] or [batch * nhead, length, length], or a sightline mask.
            src_key_padding_mask: [batch, length], or a sightline mask.
            is_causal: whether nobody sees what comes after; holds together with the masks.
            q_offset: the absolute position of the first token.
            cache: a layer of a chunk of ``sl.nn.KVCache``.
        """

        def attend(x: torch.Tensor) -> torch.Tensor:
            return self.self_attn(
                x,
                key_padding_mask=src_key_padding_mask,
                need_weights=False,
                attn_mask=src_mask,
                is_causal=is_causal,
                q_offset=q_offset,
                cache=cache,
            )[0]

        x = self._join(src, attend, self.norm1, self.dropout1)
        return self._join(x, self._feed_forward, self.norm2, self.dropout2)


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to a memory, a feed-forward part: torch's place and names.

    As TransformerEncoderLayer, whose arguments it has.

    >>> import sightline as sl, torch
    >>> layer = sl.nn.TransformerDecoderLayer(8, 2, 16, batch_first=True)
    >>> target, memory = torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    >>> layer(target, memory, sl.causal(), sl.padding(lengths=[5, 2])).shape
    torch.Size([2, 3, 8])
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Activation = functional.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        kv_heads: int | None = None,
        positions: Any = None,
        engine: str = "auto",
    ) -> None:
        super().__init__()
        where = {"device": device, "dtype": dtype}
        norm = {"eps": layer_norm_eps, "bias": bias, **where}
        attention = {"bias": bias, "batch_first": batch_first, "engine": engine, **where}
        attention["kv_heads"] = kv_heads
        self.self_attn = MultiheadAttention(
            d_model, nhead, dropout, positions=positions, **attention
        )
        self.multihead_attn = MultiheadAttention(d_model, nhead, dropout, **attention)
        self._make_feed_forward(d_model, dim_feedforward, dropout, bias=bias, **where)
        self.norm_first = norm_first
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(d_model, **norm) for _ in range(3))
        self.dropout1, self.dropout2, self.dropout3 = (nn.Dropout(dropout) for _ in range(3))
        self.activation = activation_of(activation)

    def forward(
        self,
        tgt: torch.Tensor,
        memory: torch.Tensor,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
        *,
        q_offset: int = 0,
        cache: Any = None,
    ) -> torch.Tensor:
        """Return the layer's output, laid out as ``tgt``.

        Args:
            tgt: [batch, length, features], or as ``batch_first`` says; one sequence without batch.
            memory: [batch, kv_len, features] likewise.
            tgt_mask: who of the target sees whom of it: a tensor as in torch, or a sightline mask.
            memory_mask: who of the target sees whom of the memory.
            tgt_key_padding_mask: [batch, length], or a sightline mask.
            memory_key_padding_mask: [batch, kv_len], or a sightline mask.
            tgt_is_causal: whether nobody of the target sees what comes after.
            memory_is_causal: the same for the memory.
            q_offset: the absolute position of the first token of ``tgt``.
            cache: a layer of a chunk of ``sl.nn.KVCache``, for the self-attention.

        Raises:
            CannotExpress: a cache, and a memory mask that depends on the query.
        """
        if cache is not None:
            _refuse_positions(memory_mask, memory_is_causal)

        def attend(x: torch.Tensor) -> torch.Tensor:
            return self.self_attn(
                x,
                key_padding_mask=tgt_key_padding_mask,
                need_weights=False,
                attn_mask=tgt_mask,
                is_causal=tgt_is_causal,
                q_offset=q_offset,
                cache=cache,
            )[0]

        def attend_to_memory(x: torch.Tensor) -> torch.Tensor:
            return self.multihead_attn(
                x,
                memory,
                key_padding_mask=memory_key_padding_mask,
                need_weights=False,
                attn_mask=memory_mask,
                is_causal=memory_is_causal,
                q_offset=q_offset,
            )[0]

        x = self._join(tgt, attend, self.norm1, self.dropout1)
        x = self._join(x, attend_to_memory, self.norm2, self.dropout2)
        return self._join(x, self._feed_forward, self.norm3, self.dropout3)


def _refuse_positions(memory_mask: Any, is_causal: bool) -> None:
    """Refuse what asks for the queries' positions, which differ between rows of a cache."""
    if is_causal or (isinstance(memory_mask, Mask) and not memory_mask.asks_key_alone):
        raise CannotExpress(
            destination="attention to a memory beside a cache",
            part="memory_is_causal" if is_causal else repr(memory_mask),
            reason="each batch row stands at a position of its own",
            alternative="a memory mask of keys alone, such as sl.padding(lengths=...)",
        )

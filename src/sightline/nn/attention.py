"""Multi-head attention as a layer: torch's parameters and call, Sightline's masks and promises.

Reading torch's mask tensors is left to torch_masks.py, which rows need work at all to
needed_rows.py, the linear maps to linear.py, and attention itself to ``sl.attend``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from sightline.engines.attend import KEYS_ELSEWHERE, attend, attention_weights
from sightline.engines.request import check_mask_axes
from sightline.engines.shared import refuse_shared, shared_sequence, token_positions
from sightline.errors import CannotExpress, InvalidArgument
from sightline.masks.mask import Mask
from sightline.nn.layouts import Inputs
from sightline.nn.linear import linear, linear_parts
from sightline.nn.needed_rows import ALL, LEAST_WORK, NeededRows, needed_rows
from sightline.nn.torch_masks import Sight, Sizes, read_masks

__all__ = ["MultiheadAttention"]

_NO_WEIGHTS = "need_weights=False, or the same call outside of sl.distributed.context_parallel"

# Weights hold the mask written out, which torch.compile cannot follow.
_weights_apart: Any = torch.compiler.disable(attention_weights)


class MultiheadAttention(nn.Module):
    """Attention of several heads between linear maps, a drop-in for torch.nn.MultiheadAttention.

    Parameters, their names, their first values and the call are torch's, so that weights load both
    ways; outputs are torch's where that layer is right. What differs:

    * A query that may see nothing gets 0 before the last map, so ``out_proj.bias``; no NaN, with
      or without ``need_weights``, in training and in evaluation.
    * What is masked changes no output and no gradient by a bit, NaN and Inf included.
    * ``is_causal`` is a mask of its own that holds together with the others; it never replaces one.
    * ``mask`` takes a sightline mask, True = may attend. ``attn_mask`` and ``key_padding_mask``
      mean what they mean in torch (True forbids, floats are added), or are sightline masks.
    * Keys that nobody sees and queries that see nothing are not projected. Where the mask hides
      padded queries too (``padding(...) & padding(...).T``, or ``query_mask``), padding costs
      next to nothing.
    * The weights that ``need_weights`` returns are those before dropout.

    Args:
        embed_dim: features of a query, and of the output.
        num_heads: query heads.
        dropout: the rate at which weights are dropped in training.
        bias: whether the linear maps add a bias.
        add_bias_kv: add one learned key and value that every query sees.
        add_zero_attn: add one key and value of zeros that every query sees.
        kdim: features of a key; None for ``embed_dim``.
        vdim: features of a value; None for ``embed_dim``.
        batch_first: inputs are [batch, length, features]; else [length, batch, features].
        device: where the parameters live.
        dtype: the parameters' dtype.
        kv_heads: key and value heads, which must divide ``num_heads``; None for as many
            (grouped-query attention: Ainslie et al. 2023, section 2.2).
        head_dim: features of a head's query and key; None for ``embed_dim // num_heads``.
        value_dim: features of a head's value; None for ``head_dim``.
        positions: what turns queries and keys by their positions, such as ``sl.nn.Rotary``: its
            ``rotate(x, positions)`` takes [batch, heads, length, head_dim] and [batch or 1,
            length]. None for nothing.
        engine: which engine computes, as for ``sl.attend``.

    Raises:
        InvalidArgument: sizes that are not positive or do not divide, or a bad rate.

    Source: Vaswani et al. 2017, section 3.2.2.

    >>> import sightline as sl, torch
    >>> layer = sl.nn.MultiheadAttention(8, 2, batch_first=True)
    >>> x = torch.randn(2, 5, 8)
    >>> output, weights = layer(x, mask=sl.causal() & sl.padding(lengths=[5, 3]))
    >>> output.shape, weights.shape
    (torch.Size([2, 5, 8]), torch.Size([2, 5, 5]))
    >>> bool((weights[1, :, 3:] == 0).all())
    True
    """

    in_proj_weight: nn.Parameter | None
    in_proj_bias: nn.Parameter | None
    q_proj_weight: nn.Parameter | None
    k_proj_weight: nn.Parameter | None
    v_proj_weight: nn.Parameter | None
    bias_k: nn.Parameter | None
    bias_v: nn.Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        kv_heads: int | None = None,
        head_dim: int | None = None,
        value_dim: int | None = None,
        positions: Any = None,
        engine: str = "auto",
    ) -> None:
        _check_sizes(embed_dim, num_heads, kv_heads, head_dim, value_dim, dropout)
        super().__init__()
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.kv_heads = kv_heads or num_heads
        self.head_dim = head_dim or embed_dim // num_heads
        self.value_dim = value_dim or self.head_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.dropout = dropout
        self.batch_first = batch_first
        self.add_zero_attn = add_zero_attn
        self.positions = positions
        self.engine = engine
        # How wide the queries, keys and values of all heads are, side by side.
        self.widths = (
            num_heads * self.head_dim,
            self.kv_heads * self.head_dim,
            self.kv_heads * self.value_dim,
        )
        self._make_parameters(bias, add_bias_kv, {"device": device, "dtype": dtype})
        self._reset_parameters()

    def _make_parameters(self, bias: bool, add_bias_kv: bool, where: dict[str, Any]) -> None:
        """Make torch's parameters in torch's order, so that one seed gives the same values."""
        names = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
        if self._qkv_same_embed_dim:
            self.in_proj_weight = _empty(sum(self.widths), self.embed_dim, **where)
            for name in names:
                self.register_parameter(name, None)
        else:
            features = (self.embed_dim, self.kdim, self.vdim)
            for name, width, size in zip(names, self.widths, features, strict=True):
                self.register_parameter(name, _empty(width, size, **where))
            self.register_parameter("in_proj_weight", None)
        self.register_parameter("in_proj_bias", _empty(sum(self.widths), **where) if bias else None)
        joined = self.num_heads * self.value_dim
        self.out_proj = nn.Linear(joined, self.embed_dim, bias=bias, **where)
        for name, width in zip(("bias_k", "bias_v"), self.widths[1:], strict=True):
            made = _empty(1, 1, width, **where) if add_bias_kv else None
            self.register_parameter(name, made)

    def _reset_parameters(self) -> None:
        apart = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        for weight in (self.in_proj_weight, *apart):
            if weight is not None:
                nn.init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            nn.init.zeros_(self.in_proj_bias)
            nn.init.zeros_(self.out_proj.bias)
        for learned in (self.bias_k, self.bias_v):
            if learned is not None:
                nn.init.xavier_normal_(learned)

    def forward(
        self,
        query: torch.Tensor,
        key: torch.Tensor | None = None,
        value: torch.Tensor | None = None,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
        *,
        mask: Any = None,
        q_offset: int = 0,
        cache: Any = None,
        query_mask: Any = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the output and the weights.

        Args:
            query: [batch, q_len, embed_dim] with ``batch_first``, else [q_len, batch, embed_dim];
                or [q_len, embed_dim] for one sequence.
            key: [batch, kv_len, kdim] likewise; None for the query.
            value: [batch, kv_len, vdim] likewise; None for the key.
            key_padding_mask: bool [batch, kv_len], True forbids; floats are added to the scores.
            need_weights: whether the weights are wanted, which holds all pairs.
            attn_mask: [q_len, kv_len] or [batch * num_heads, q_len, kv_len], as above.
            average_attn_weights: whether the weights are averaged over the heads.
            is_causal: whether nobody sees what comes after.
            mask: a sightline mask over absolute positions; None for everything.
            q_offset: the absolute position of query 0.
            cache: a layer of a chunk of ``sl.nn.KVCache``: the inputs are the new tokens, which
                are written there and see all that it holds.
            query_mask: bool [batch, q_len], True for a real query; the others see nothing.

        Returns:
            The output, laid out as the query; the weights [batch, q_len, kv_len], with a head axis
            after the batch if not averaged, None if not wanted. Columns of ``add_bias_kv`` and
            ``add_zero_attn`` stand last.

        Raises:
            ShapeMismatch: sizes that do not fit.
            InvalidArgument: masks that do not say what they mean: integers, or floats of 0 and 1.
            CannotExpress: a mask as a tensor, or added keys, together with a cache.
        """
        if need_weights:
            refuse_shared("need_weights=True", reason=KEYS_ELSEWHERE, alternative=_NO_WEIGHTS)
        given = Inputs.of(
            query, key, value, (self.embed_dim, self.kdim, self.vdim), self.batch_first
        )
        if cache is not None:
            self._check_cached(q_offset, attn_mask, key_padding_mask, query_mask)
        sizes = Sizes(given.batch, self.num_heads, given.q_len, given.kv_len, q_offset)
        added = (self.bias_k is not None) + self.add_zero_attn
        if given.one_sequence:
            key_padding_mask, query_mask = _in_a_batch(key_padding_mask), _in_a_batch(query_mask)
        sight = read_masks(
            sizes,
            mask=mask,
            attn_mask=attn_mask,
            key_padding_mask=key_padding_mask,
            is_causal=is_causal,
            added=added,
            query_mask=query_mask,
        )
        rows = None
        if cache is None:
            heads, weights, rows = self._attend(given, sight, sizes, added, need_weights)
        else:
            heads, weights = self._attend_cached(given, sight, cache, need_weights)
        # Heads side by side: free where attention laid its output out like the queries.
        joined = heads.transpose(1, 2).flatten(2)
        output = linear(joined, self.out_proj.weight, self.out_proj.bias, rows=rows)
        if weights is not None and average_attn_weights:
            weights = weights.mean(1)
        return given.laid_out(output), given.without_batch(weights)

    # -- attention ----------------------------------------------------------------------------

    def _attend(
        self, given: Inputs, sight: Sight, sizes: Sizes, added: int, need_weights: bool
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """Return [batch, heads, q_len, value_dim], the weights, and the rows that are not 0."""
        needed = self._needed(given, sight, sizes, added)
        query, key, value = self._project(given, needed)
        if self.positions is not None:
            query = self.positions.rotate(query, _positions(query, sizes.q_offset))
            key = self.positions.rotate(key, _positions(key, 0))
        if added:
            key, value = self._with_added(key, self.bias_k), self._with_added(value, self.bias_v)
        options = {"q_offset": sizes.q_offset, "bias": sight.bias}
        heads = attend(
            query, key, value, sight.mask, dropout=self._rate(), engine=self.engine, **options
        )
        weights = None
        if need_weights:
            weights = _weights(query, key, sight.mask, **options).roll(-added, dims=3)
        return heads, weights, needed.outputs

    def _attend_cached(
        self, given: Inputs, sight: Sight, cache: Any, need_weights: bool
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        query, key, value = self._project(given, ALL)
        if self.positions is not None:
            query = self.positions.rotate(query, cache.positions)
            key = self.positions.rotate(key, cache.positions)
        key, value = cache.append(key, value)
        mask, q_offset = cache.mask(sight.mask), cache.q_offset
        heads = attend(
            query, key, value, mask, q_offset=q_offset, dropout=self._rate(), engine=self.engine
        )
        if not need_weights:
            return heads, None
        return heads, _weights(query, key, mask, q_offset=q_offset)

    def _check_cached(self, q_offset: int, *tensors: Any) -> None:
        part = None
        if any(isinstance(each, torch.Tensor) for each in tensors):
            part = "a mask as a tensor"
        elif self.bias_k is not None or self.add_zero_attn:
            part = "add_bias_kv or add_zero_attn"
        elif q_offset:
            part = f"q_offset={q_offset}"
        if part is not None:
            raise CannotExpress(
                destination="attention with a cache",
                part=part,
                reason="each batch row stands at a position of its own, which the cache knows",
                alternative="mask= with a sightline mask over absolute positions",
            )

    def _rate(self) -> float:
        return self.dropout if self.training else 0.0

    def _with_added(self, tensor: torch.Tensor, learned: torch.Tensor | None) -> torch.Tensor:
        """Return keys or values [batch, kv_heads, kv_len, dim] behind the added ones."""
        batch, heads, _, dim = tensor.shape
        parts = [tensor]
        if self.add_zero_attn:
            parts.insert(0, tensor.new_zeros(batch, heads, 1, dim))
        if learned is not None:
            parts.insert(
                0, learned.to(tensor.dtype).view(1, heads, 1, dim).expand(batch, -1, -1, -1)
            )
        return torch.cat(parts, dim=2)

    # -- projections --------------------------------------------------------------------------

    def _needed(self, given: Inputs, sight: Sight, sizes: Sizes, added: int) -> NeededRows:
        """Return which rows are worth projecting; all where looking costs more than it saves."""
        work = sum(self.widths) * self.embed_dim * given.batch * max(given.q_len, given.kv_len)
        if work < LEAST_WORK or torch.compiler.is_compiling() or shared_sequence() is not None:
            return ALL  # which rows a share needs would have to be asked at its positions
        check_mask_axes(sight.mask, sizes.batch, sizes.heads)
        return needed_rows(
            sight.mask,
            sizes.batch,
            sizes.q_len,
            sizes.kv_len + added,
            q_offset=sizes.q_offset,
            first_key=added,
            batch_first=given.batch_first,
        )

    def _project(self, given: Inputs, needed: NeededRows) -> tuple[torch.Tensor, ...]:
        """Return query, key and value [batch, heads, length, dim], views where that can be."""
        flat = [tensor.reshape(-1, tensor.shape[-1]) for tensor in given.tensors]
        rows = (needed.queries, needed.keys, needed.keys)
        stop = 0
        parts: list[torch.Tensor] = []
        for group in self._groups(given, needed):
            widths = self.widths[stop : stop + group]
            weight, bias = self._maps(stop, stop + group)
            parts += linear_parts(flat[stop], weight, bias, widths, rows=rows[stop])
            stop += group
        query, key, value = parts
        return (
            given.split_heads(query, self.num_heads, given.q_len),
            given.split_heads(key, self.kv_heads, given.kv_len),
            given.split_heads(value, self.kv_heads, given.kv_len),
        )

    def _groups(self, given: Inputs, needed: NeededRows) -> tuple[int, ...]:
        """Return how many of query, key and value are made in one matrix product each."""
        query, key, value = given.tensors
        if not self._qkv_same_embed_dim or key is not value:
            return 1, 1, 1
        return (3,) if query is key and needed.alike else (1, 2)

    def _maps(self, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return weight and bias of the maps from the ``start``-th to before the ``stop``-th."""
        weight, bias = self.in_proj_weight, self.in_proj_bias
        if weight is None:
            weight = self.get_parameter(("q_proj_weight", "k_proj_weight", "v_proj_weight")[start])
        elif stop - start == 3:
            return weight, bias
        first, last = sum(self.widths[:start]), sum(self.widths[:stop])
        if weight is self.in_proj_weight:
            weight = weight[first:last]
        return weight, None if bias is None else bias[first:last]

    def extra_repr(self) -> str:
        """Say the sizes."""
        grouped = f", kv_heads={self.kv_heads}" if self.kv_heads != self.num_heads else ""
        return f"{self.embed_dim}, {self.num_heads}{grouped}, batch_first={self.batch_first}"


def _check_sizes(
    embed_dim: int,
    num_heads: int,
    kv_heads: int | None,
    head_dim: int | None,
    value_dim: int | None,
    dropout: float,
) -> None:
    named = {
        "embed_dim": embed_dim,
        "num_heads": num_heads,
        "kv_heads": kv_heads,
        "head_dim": head_dim,
        "value_dim": value_dim,
    }
    for name, size in named.items():
        if size is not None and size < 1:
            raise InvalidArgument(f"got {name}={size}; wanted at least 1.")
    if head_dim is None and embed_dim % num_heads:
        raise InvalidArgument(
            f"got embed_dim={embed_dim} and num_heads={num_heads}; wanted heads that divide it, or "
            "head_dim= of their own."
        )
    if kv_heads is not None and num_heads % kv_heads:
        raise InvalidArgument(
            f"got kv_heads={kv_heads} and num_heads={num_heads}; wanted key heads that divide the "
            "query heads."
        )
    if not 0.0 <= dropout < 1.0:
        raise InvalidArgument(f"got dropout={dropout}; wanted a rate of at least 0 and below 1.")


def _empty(*shape: int, **where: Any) -> nn.Parameter:
    return nn.Parameter(torch.empty(shape, **where))


def _weights(query: torch.Tensor, key: torch.Tensor, mask: Mask, **options: Any) -> torch.Tensor:
    """Return the attention weights [batch, heads, q_len, kv_len]."""
    find = _weights_apart if torch.compiler.is_compiling() else attention_weights
    return find(query, key, mask, **options)


def _positions(tensor: torch.Tensor, first: int) -> torch.Tensor:
    """Return the positions [1, length] of [batch, heads, length, dim]."""
    found = token_positions(tensor.shape[2], tensor.device)
    return found + first if first else found


def _in_a_batch(mask: Any) -> Any:
    """Return a mask of one sequence, [length], as that of a batch of one."""
    return mask[None] if isinstance(mask, torch.Tensor) else mask

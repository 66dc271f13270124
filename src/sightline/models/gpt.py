"""A decoder-only language model of GPT-2's shape, whose mask is a field of its configuration.

Text goes in as token numbers, logits come out. Generating is nn/generate.py's part, the cache
nn/kv_cache.py's; the names of transformers' weights stand in gpt_weights.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from torch import nn

from sightline.engines.attend import attend, attention_weights
from sightline.engines.registry import check_engine
from sightline.engines.shared import token_positions, token_stop
from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.masks.mask import Mask
from sightline.masks.positional import causal
from sightline.models.config_checks import check_heads, check_sizes
from sightline.models.token_checks import check_tokens
from sightline.nn.generation.rows import ROW_STEP, RowLayout, fill_rows, gelu_tanh
from sightline.nn.kv_cache import KVCache
from sightline.nn.positions import Rotary, turn


@dataclass(frozen=True)
class GPTConfig:
    """The sizes of a GPT, and who may see whom in it.

    Attributes:
        vocab: how many tokens there are.
        layers: blocks, one after another.
        heads: query heads of each block.
        kv_heads: key and value heads; must divide ``heads``; None for as many.
        width: features of a token; a multiple of ``heads``.
        hidden: features between the two layers of the feed-forward part; None for 4 * width.
        context: the most positions.
        positions: "learned" adds a vector per position to the tokens; "rotary" turns queries and
            keys (Su et al. 2021, "RoFormer", section 3.2.2).
        rotary_base: of rotary positions; greater turns slower.
        tied: whether the output layer's weight is the token embedding's.
        dropout: the rate of dropout in training.
        epsilon: of the layer norms.
        mask: who may see whom; ``causal()`` and everything narrower make a language model.
        engine: which engine computes attention, as for ``sl.attend``.

    Raises:
        InvalidArgument: sizes that do not fit.
        UnknownBackend: no engine of that name.
    """

    vocab: int
    layers: int = 12
    heads: int = 12
    kv_heads: int | None = None
    width: int = 768
    hidden: int | None = None
    context: int = 1024
    positions: Literal["learned", "rotary"] = "learned"
    rotary_base: float = 10000.0
    tied: bool = True
    dropout: float = 0.0
    epsilon: float = 1e-5
    mask: Mask = field(default_factory=causal)
    engine: str = "auto"

    def __post_init__(self) -> None:
        check_sizes(self, "vocab", "layers", "heads", "width", "context")
        check_heads(self)
        if self.kv_heads is not None and (self.kv_heads < 1 or self.heads % self.kv_heads):
            raise InvalidArgument(
                f"got heads={self.heads} and kv_heads={self.kv_heads}; wanted kv_heads that divide "
                "the heads; None takes as many."
            )
        if self.positions not in ("learned", "rotary"):
            raise InvalidArgument(
                f"got positions={self.positions!r}; wanted 'learned' or 'rotary'; check the word."
            )
        check_engine(self.engine)
        if self.positions == "rotary" and self.head_dim % 2:
            raise InvalidArgument(
                f"got a head_dim of {self.head_dim} with rotary positions; wanted an even one; "
                "change width or heads."
            )

    @property
    def head_dim(self) -> int:
        """Features of one head."""
        return self.width // self.heads

    @property
    def key_heads(self) -> int:
        """Key heads, given or taken from ``heads``."""
        return self.heads if self.kv_heads is None else self.kv_heads


@dataclass
class Pass:
    """What all blocks of one forward pass share."""

    layout: RowLayout
    mask: Mask
    q_offset: int
    dropout: float
    engine: str
    rotary: Callable[[torch.Tensor], torch.Tensor] | None
    cache: Any
    weights: list[torch.Tensor] | None  # where each block leaves its attention weights, if asked


class Attention(nn.Module):
    """Self-attention with one projection for query, key and value."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.heads = [config.heads, config.key_heads, config.key_heads]
        self.all_heads = sum(self.heads)
        self.qkv = nn.Linear(config.width, self.all_heads * config.head_dim)
        self.out = nn.Linear(config.width, config.width)

    def forward(self, rows: torch.Tensor, step: Pass, layer: int) -> torch.Tensor:
        """Return the attended rows [rows, width]."""
        grid = step.layout.grid(self.qkv(rows))
        grid = grid.view(*grid.shape[:2], self.all_heads, -1).transpose(1, 2)
        query, key, value = grid.split_with_sizes(self.heads, 1)
        if step.rotary is not None:
            query, key = step.rotary(query), step.rotary(key)
        if step.cache is not None:
            key, value = step.cache.layer(layer).append(key, value)
        if step.weights is not None:
            step.weights.append(attention_weights(query, key, step.mask, q_offset=step.q_offset))
        seen = attend(
            query,
            key,
            value,
            step.mask,
            q_offset=step.q_offset,
            dropout=step.dropout,
            engine=step.engine,
        )
        return self.out(step.layout.rows(seen.transpose(1, 2).flatten(2)))


class Block(nn.Module):
    """Attention and a feed-forward part, each after a layer norm and beside a residual."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        hidden = 4 * config.width if config.hidden is None else config.hidden
        self.norm_1 = nn.LayerNorm(config.width, config.epsilon)
        self.attention = Attention(config)
        self.norm_2 = nn.LayerNorm(config.width, config.epsilon)
        self.up = nn.Linear(config.width, hidden)
        self.down = nn.Linear(hidden, config.width)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, rows: torch.Tensor, step: Pass, layer: int) -> torch.Tensor:
        """Return the rows [rows, width] after this block."""
        added = self.attention(self.norm_1(rows), step, layer)
        rows = rows + (self.drop(added) if self.training else added)
        added = self.down(gelu_tanh(self.up(self.norm_2(rows))))
        return rows + (self.drop(added) if self.training else added)


class GPT(nn.Module):
    """GPT-2's model with any mask: pre-norm blocks, learned or rotary positions.

    Without gradients a token's logits have the same bits alone, in any batch, and whether its
    past was computed with it or stands in a cache, where the machine's linear layers allow
    (``linear_is_row_invariant``).

    Args:
        config: the sizes and the mask.

    Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.3.

    >>> import torch
    >>> from sightline.models.gpt import GPT, GPTConfig
    >>> model = GPT(GPTConfig(vocab=11, layers=2, heads=4, kv_heads=2, width=32, context=16))
    >>> model(torch.tensor([[1, 2, 3], [4, 5, 6]])).shape
    torch.Size([2, 3, 11])
    """

    row_step = ROW_STEP  # rows are filled up to a multiple of this

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab, config.width)
        if config.positions == "learned":
            self.position_embedding = nn.Embedding(config.context, config.width)
        else:
            self.rotary = Rotary(config.head_dim, base=config.rotary_base)
        self.drop = nn.Dropout(config.dropout)
        blocks = [Block(config) for _ in range(config.layers)]
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(config.width, config.epsilon)
        self.head = nn.Linear(config.width, config.vocab, bias=False)
        self.apply(self._draw)
        for block in blocks:
            for part in (block.attention.out, block.down):
                nn.init.normal_(part.weight, std=0.02 / math.sqrt(2 * config.layers))
        if config.tied:
            self.head.weight = self.token_embedding.weight

    @property
    def context(self) -> int:
        """The most positions."""
        return self.config.context

    @property
    def mask(self) -> Mask:
        """Who may see whom, where a call says nothing else."""
        return self.config.mask

    @staticmethod
    def _draw(module: nn.Module) -> None:
        """Draw a layer's first weights as GPT-2 does."""
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def forward(
        self,
        tokens: torch.Tensor,
        *,
        cache: Any = None,
        positions: torch.Tensor | None = None,
        mask: Mask | None = None,
        logits_at: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the logits of the token that follows each token.

        Args:
            tokens: [batch, length] int64.
            cache: what ``KVCache.extend`` returned, where the past stands in a cache; each row's
                first ``cache.counts`` tokens are real.
            positions: [batch, length]; by default the cache's, or 0, 1, 2, ...
            mask: who may see whom, instead of the configuration's.
            logits_at: [batch, n] which tokens' logits are wanted; by default those of all.

        Returns:
            [batch, length, vocab], or [batch, n, vocab].

        Raises:
            ShapeMismatch: sizes that do not fit, or more positions than ``context``.
        """
        rows, layout = self._run(tokens, cache, positions, mask)
        return self._logits(rows, layout, logits_at)

    def attention_weights(
        self,
        tokens: torch.Tensor,
        *,
        positions: torch.Tensor | None = None,
        mask: Mask | None = None,
    ) -> list[torch.Tensor]:
        """Return how much each token looks at each other one, block by block, for looking at it.

        Arguments are those of a call. Each tensor [batch, heads, length, length] holds, for every
        query, weights that sum to 1; they are exactly 0 where the mask forbids.

        Raises:
            ShapeMismatch: as for a call.

        >>> import torch
        >>> model = GPT(GPTConfig(vocab=11, layers=2, heads=1, width=8, context=16))
        >>> first, second = model.attention_weights(torch.tensor([[5, 3, 8]]))
        >>> first[0, 0] > 0
        tensor([[ True, False, False],
                [ True,  True, False],
                [ True,  True,  True]])
        """
        weights: list[torch.Tensor] = []
        self._run(tokens, None, positions, mask, weights)
        return weights

    def new_cache(self, batch: int, max_len: int) -> KVCache:
        """Return an empty cache for this model: ``batch`` rows of up to ``max_len`` tokens.

        It may have room for more than ``context``: drafts of several branches take more slots
        than positions.
        """
        config, weight = self.config, self.token_embedding.weight
        return KVCache(
            config.layers,
            batch,
            config.key_heads,
            max_len,
            config.head_dim,
            dtype=weight.dtype,
            device=weight.device,
        )

    def _run(
        self,
        tokens: torch.Tensor,
        cache: Any,
        positions: torch.Tensor | None,
        mask: Mask | None,
        weights: list[torch.Tensor] | None = None,
    ) -> tuple[torch.Tensor, RowLayout]:
        """Return the rows behind the last block, and how they lie."""
        batch, length = self._check(tokens, cache)
        positions = self._positions(length, tokens, cache, positions)
        mask = self.config.mask if mask is None else mask
        layout = RowLayout(
            batch,
            length,
            None if cache is None else cache.counts,
            step=self.row_step,
            device=tokens.device,
        )
        step = Pass(
            layout=layout,
            mask=mask if cache is None else cache.mask(mask),
            q_offset=0 if cache is None else cache.q_offset,
            dropout=self.config.dropout if self.training else 0.0,
            engine=self.config.engine,
            rotary=self._rotary(positions),
            cache=cache,
            weights=weights,
        )
        grid = self.token_embedding(tokens)
        if self.config.positions == "learned":
            grid = grid + self.position_embedding(positions)
        rows = self.drop(layout.rows(grid))
        for layer, block in enumerate(self.blocks):
            rows = block(rows, step, layer)
        return rows, layout

    def _logits(
        self, rows: torch.Tensor, layout: RowLayout, wanted: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the logits of all tokens, or of those ``wanted`` [batch, n]."""
        if wanted is None:
            return layout.grid(self.head(self.norm(rows)))
        chosen = rows
        if layout.index is not None or layout.length > 1 or wanted.shape[1] != 1:
            grid = layout.grid(rows)
            chosen = grid.gather(1, wanted[:, :, None].expand(-1, -1, grid.shape[2])).flatten(0, 1)
            chosen = fill_rows(chosen, -(-chosen.shape[0] // self.row_step) * self.row_step)
        batch, n = wanted.shape
        return self.head(self.norm(chosen))[: batch * n].view(batch, n, -1)

    def _check(self, tokens: torch.Tensor, cache: Any) -> tuple[int, int]:
        check_tokens(tokens)
        batch, length = tokens.shape
        if cache is not None and len(cache.counts) != batch:
            raise ShapeMismatch(
                f"got {batch} rows of tokens and a cache of {len(cache.counts)}; wanted equal "
                "numbers; make the cache with model.new_cache(batch, max_len)."
            )
        return batch, length

    def _positions(
        self, length: int, tokens: torch.Tensor, cache: Any, positions: torch.Tensor | None
    ) -> torch.Tensor:
        """Return where the tokens stand; padding may stand anywhere within the context."""
        if positions is not None:
            if positions.numel():
                self._check_context(int(positions.max()) + 1)
            return positions
        if cache is not None:
            self._check_context(int(cache.stops.max()))
            return cache.positions.clamp(max=self.context - 1)
        self._check_context(token_stop(length))
        return token_positions(length, tokens.device)

    def _rotary(self, positions: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor] | None:
        """Return what turns queries and keys to their positions; worked out once for all layers."""
        if self.config.positions != "rotary":
            return None
        cos, sin = self.rotary.cos_sin(positions)
        return partial(turn, cos=cos[:, None], sin=sin[:, None], style=self.rotary.style)

    def _check_context(self, length: int) -> None:
        if length > self.config.context:
            raise ShapeMismatch(
                f"got {length} positions and a model with context={self.config.context}; wanted no "
                "more than the context; cut the text, or make the model with a greater context."
            )

    @classmethod
    def from_transformers(cls, model: Any) -> GPT:
        """Return a GPT with the weights (copied) of a ``transformers`` GPT2LMHeadModel.

        Raises:
            InvalidArgument: an option of its configuration that this model lacks.
        """
        from sightline.models.gpt_weights import load_state, read_config

        made = cls(GPTConfig(**read_config(model.config))).to(model.dtype)
        load_state(made, model.state_dict())
        return made.to(model.device).train(model.training)

    def transformers_state(self) -> dict[str, torch.Tensor]:
        """Return copies of the weights, named and shaped as GPT2LMHeadModel loads them.

        Raises:
            InvalidArgument: a model that is not of GPT-2's shape (rotary, fewer key heads).
        """
        from sightline.models.gpt_weights import their_state

        return their_state(self)

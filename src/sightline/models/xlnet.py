"""XLNet: a language model for any order of the tokens; one stream reads, another one predicts.

Tokens and masks go in, logits come out. The attention is in xlnet_attention.py, what is refused in
xlnet_checks.py, the names of transformers' weights in xlnet_weights.py; orders and targets are
drawn by the recipe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional

from sightline.engines.shared import refuse_shared
from sightline.errors import InvalidArgument
from sightline.masks.mask import Mask
from sightline.masks.positional import everything, keys, window
from sightline.models.config_checks import check_heads, check_rates, check_sizes
from sightline.models.xlnet_attention import RelativeAttention, Stream
from sightline.models.xlnet_checks import check_inputs, check_masks, check_memory, check_targets

_ACTIVATIONS = {
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "relu": functional.relu,
}


@dataclass(frozen=True)
class XLNetConfig:
    """The sizes of an XLNet. It has no longest text: distances are sinusoids.

    Attributes:
        vocab: how many tokens there are.
        layers: blocks, one after another.
        heads: heads of each block.
        width: features of a token; an even multiple of ``heads``.
        hidden: features between the two layers of the feed-forward part; None for 4 * width.
        dropout: the rate of dropout in training.
        epsilon: of the layer norms.
        activation: "gelu", "gelu_tanh" or "relu".
        clamp: the greatest distance that is told apart, or None.
        spread: the deviation of the first weights; narrow models learn sooner with more.
        mask: who may see whom where a call says nothing else.
        engine: which engine computes attention, as for ``attend``; one that takes a bias.

    Raises:
        InvalidArgument: sizes that do not fit, or an unknown activation.
    """

    vocab: int
    layers: int = 12
    heads: int = 12
    width: int = 768
    hidden: int | None = None
    dropout: float = 0.1
    epsilon: float = 1e-12
    activation: str = "gelu"
    clamp: int | None = None
    spread: float = 0.02
    mask: Mask = field(default_factory=everything)
    engine: str = "auto"

    def __post_init__(self) -> None:
        check_sizes(self, "vocab", "layers", "heads", "width", "hidden", "clamp")
        check_heads(self, even=True)
        check_rates(self, "dropout")
        if self.activation not in _ACTIVATIONS:
            raise InvalidArgument(
                f"got activation={self.activation!r}; wanted one of {', '.join(_ACTIVATIONS)}."
            )


@dataclass(frozen=True, eq=False)
class Reading:
    """The hidden states of one pass.

    Attributes:
        content: [batch, length, width] the stream that sees each token itself.
        query: [batch, targets, width] the stream that predicts, or None without targets.
        inputs: what went into each layer's content stream, [batch, length, width] each.
    """

    content: torch.Tensor
    query: torch.Tensor | None
    inputs: tuple[torch.Tensor, ...]

    def memory(
        self,
        length: int | None = None,
        *,
        reuse: int | None = None,
        before: Sequence[torch.Tensor] | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """Return what the next stretch of text may look back at, without gradients.

        Args:
            length: the most tokens to keep, the last ones; None for all.
            reuse: how many of this pass's first tokens are remembered; None for all.
            before: the memory that this pass had.

        Returns:
            [batch, kept, width] for each layer, to be passed as ``memory``.

        Raises:
            InvalidArgument: a length or number below 1.
        """
        for name, number in (("length", length), ("reuse", reuse)):
            if number is not None and number < 1:
                raise InvalidArgument(f"got {name}={number}; wanted at least 1, or None for all.")
        kept = [each[:, :reuse] for each in self.inputs]
        if before is not None:
            kept = [torch.cat(pair, dim=1) for pair in zip(before, kept, strict=True)]
        return tuple(each[:, -(length or 0) :].detach() for each in kept)


@dataclass(frozen=True, eq=False)
class Pass:
    """What all blocks share: sinusoids of distances, both streams, what went before."""

    table: torch.Tensor
    content: Stream
    query: Stream | None
    memory: Sequence[torch.Tensor] | None

    def past(self, layer: int, content: torch.Tensor) -> torch.Tensor:
        """Return what a layer looks at [batch, kv_len, width]: its memory and the tokens."""
        return content if self.memory is None else torch.cat([self.memory[layer], content], dim=1)


class Block(nn.Module):
    """Attention and a feed-forward part, each beside a residual and before a layer norm."""

    def __init__(self, config: XLNetConfig) -> None:
        super().__init__()
        hidden = 4 * config.width if config.hidden is None else config.hidden
        self.attention = RelativeAttention(
            config.width, config.heads, config.dropout, config.engine
        )
        self.norm_1 = nn.LayerNorm(config.width, config.epsilon)
        self.up = nn.Linear(config.width, hidden)
        self.down = nn.Linear(hidden, config.width)
        self.norm_2 = nn.LayerNorm(config.width, config.epsilon)
        self.drop = nn.Dropout(config.dropout)
        self.activate = _ACTIVATIONS[config.activation]

    def forward(
        self,
        streams: tuple[torch.Tensor, torch.Tensor | None],
        past: torch.Tensor,
        step: Pass,
        *,
        last: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return both streams after this block; both look at ``past``, content before it.

        Of a ``last`` block only what predicts is wanted: with a query stream the other stays.
        """
        (content, query), attention = streams, self.attention
        seen = attention.keys_and_values(past)
        if query is None or not last:
            after = self._after(content, attention(content, seen, step.table, step.content))
        else:
            after = content
        if query is None or step.query is None:
            return after, None
        return after, self._after(query, attention(query, seen, step.table, step.query))

    def weights(
        self, streams: tuple[torch.Tensor, torch.Tensor | None], past: torch.Tensor, step: Pass
    ) -> torch.Tensor:
        """Return the weights of the query stream, or if there is none those of the content's."""
        content, query = streams
        seen = self.attention.keys_and_values(past)
        if query is None or step.query is None:
            return self.attention.weights(content, seen, step.table, step.content)
        return self.attention.weights(query, seen, step.table, step.query)

    def _after(self, rows: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        rows = self.norm_1(rows + self.drop(attended))
        hidden = self.drop(self.activate(self.up(rows)))
        return self.norm_2(rows + self.drop(self.down(hidden)))


class XLNet(nn.Module):
    """XLNet with its language-model head.

    The content stream reads tokens as any encoder does, each seeing itself. The query stream asks
    for the tokens at ``targets``: it begins with one learned vector, knows where a target stands,
    and sees what its mask allows of the content stream, never the target itself.

    A query that may see nothing keeps its own state and gets nothing added. (Published code
    subtracts 1e30 from all its scores, which gives the mean of everything, forbidden or not.)

    Args:
        config: the sizes and the mask.

    Source: Yang et al. 2019, "XLNet: Generalized Autoregressive Pretraining for Language
        Understanding", section 2.

    >>> import sightline as sl, torch
    >>> from sightline.models.xlnet import XLNet, XLNetConfig
    >>> model = XLNet(XLNetConfig(vocab=11, layers=2, heads=2, width=8))
    >>> tokens = torch.tensor([[4, 5, 6], [7, 8, 9]])
    >>> model(tokens).shape
    torch.Size([2, 3, 11])
    >>> order = sl.permutation([2, 0, 1])
    >>> model(tokens, mask=order, targets=torch.tensor([[0, 1], [1, 0]])).shape
    torch.Size([2, 2, 11])
    """

    def __init__(self, config: XLNetConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab, config.width)
        self.asking = nn.Parameter(torch.empty(config.width))
        self.drop = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.head = nn.Linear(config.width, config.vocab)
        for name, weight in self.named_parameters():
            if name.endswith(".bias"):
                nn.init.zeros_(weight)
            elif ".norm_" not in name:  # norms begin with weights of 1
                nn.init.normal_(weight, std=config.spread)
        self.head.weight = self.token_embedding.weight

    @property
    def mask(self) -> Mask:
        """Who may see whom, where a call says nothing else."""
        return self.config.mask

    def forward(
        self,
        tokens: torch.Tensor,
        *,
        positions: torch.Tensor | None = None,
        segments: torch.Tensor | None = None,
        mask: Mask | None = None,
        targets: torch.Tensor | None = None,
        query_mask: Mask | None = None,
        memory: Sequence[torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """Return the logits of the tokens at ``targets``, or without targets those at all tokens.

        Args:
            tokens: [batch, length] int64.
            positions: [batch, length] where the tokens stand, for distances; by default in their
                columns. Padding may stand anywhere.
            segments: [batch, length] whole numbers; whether two tokens' are equal is what counts.
                None: the scores have no term for segments. Memory is of segment 0.
            mask: which tokens the content stream may see; by default the configuration's.
                ``sl.permutation(order)``, with padding or not.
            targets: [batch, n] the columns to predict from the query stream. Rows do not see each
                other, so one that needs fewer may repeat any column.
            query_mask: what a target may see, asked at the target's column; by default ``mask``
                without the token itself, as in ``sl.permutation(order, stream="query")``.
            memory: [batch, remembered, width] for each layer, from ``Reading.memory``. Every
                token sees all of it; it stands right before column, or position, 0.

        Returns:
            [batch, length, vocab], or [batch, n, vocab].

        Raises:
            ShapeMismatch: sizes that do not fit, or a target beyond the tokens.
            InvalidMask: what is no mask.
        """
        step = self._pass(
            tokens,
            positions=positions,
            segments=segments,
            mask=mask,
            targets=targets,
            query_mask=query_mask,
            memory=memory,
        )
        streams = self._first(tokens, targets)
        for layer, block in enumerate(self.blocks):
            last = layer == len(self.blocks) - 1
            streams = block(streams, step.past(layer, streams[0]), step, last=last)
        content, query = streams
        return self.head(self.drop(content if query is None else query))

    def read(self, tokens: torch.Tensor, **given: Any) -> Reading:
        """Return the hidden states of both streams; arguments as for ``forward``."""
        step = self._pass(tokens, **given)
        streams = self._first(tokens, given.get("targets"))
        inputs: list[torch.Tensor] = []
        for layer, block in enumerate(self.blocks):
            inputs.append(streams[0])
            streams = block(streams, step.past(layer, streams[0]), step)
        content, query = streams
        return Reading(content, query, tuple(inputs))

    @torch.no_grad()
    def attention(self, tokens: torch.Tensor, **given: Any) -> list[torch.Tensor]:
        """Return the weights of each block, to look at; arguments as for ``forward``.

        Returns:
            Those of the query stream, [batch, heads, n, remembered + length], or without targets
            those of the content stream, [batch, heads, length, remembered + length]; exactly 0
            where the mask forbids.
        """
        step = self._pass(tokens, **given)
        streams = self._first(tokens, given.get("targets"))
        found: list[torch.Tensor] = []
        for layer, block in enumerate(self.blocks):
            past = step.past(layer, streams[0])
            found.append(cast("Block", block).weights(streams, past, step))
            streams = block(streams, past, step)
        return found

    def _pass(
        self,
        tokens: torch.Tensor,
        *,
        positions: torch.Tensor | None = None,
        segments: torch.Tensor | None = None,
        mask: Mask | None = None,
        targets: torch.Tensor | None = None,
        query_mask: Mask | None = None,
        memory: Sequence[torch.Tensor] | None = None,
    ) -> Pass:
        """Return what is the same for all blocks."""
        refuse_shared("XLNet")
        mask = self.config.mask if mask is None else mask
        check_inputs(tokens, positions=positions, segments=segments)
        check_masks(mask, query_mask)
        if targets is not None:
            check_targets(targets, tokens)
        if memory is not None:
            check_memory(memory, tokens, self.config.layers, self.config.width)
        past = 0 if memory is None else memory[0].shape[1]
        content = Stream.of_tokens(tokens, positions, segments, _behind(mask, past), past)
        query = None
        if targets is not None:
            asked = mask & ~window(left=0, right=0) if query_mask is None else query_mask
            query = content.of_rows(targets, _behind(asked, past), tokens.shape[1])
        table = self.drop(self._sinusoids(content.distances.tabled))
        return Pass(table, content, query, memory)

    def _first(
        self, tokens: torch.Tensor, targets: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return both streams before the first block."""
        content = self.drop(self.token_embedding(tokens))
        if targets is None:
            return content, None
        return content, self.drop(self.asking.expand(*targets.shape, -1))

    def _sinusoids(self, distances: torch.Tensor) -> torch.Tensor:
        """Return [n, width]: sines, then cosines, of distances at falling frequencies."""
        weight, clamp = self.token_embedding.weight, self.config.clamp
        dtype = torch.float64 if weight.dtype == torch.float64 else torch.float32
        steps = torch.arange(0, self.config.width, 2, device=weight.device).to(dtype)
        if clamp is not None:
            distances = distances.clamp(-clamp, clamp)
        angles = distances.to(dtype)[:, None] * (1 / 10000 ** (steps / self.config.width))
        return torch.cat([angles.sin(), angles.cos()], dim=-1).to(weight.dtype)

    @classmethod
    def from_transformers(cls, model: Any, *, engine: str = "auto") -> XLNet:
        """Return an XLNet with the weights (copied) of a ``transformers`` XLNetLMHeadModel.

        Raises:
            InvalidArgument: an option of its configuration that this model lacks.
            ShapeMismatch: a weight that is missing or of another shape.
        """
        from sightline.models.xlnet_weights import load_state, read_config

        made = cls(XLNetConfig(**read_config(model.config), engine=engine)).to(model.dtype)
        load_state(made, model.state_dict())
        return made.to(model.device).train(model.training)


def _behind(mask: Mask, past: int) -> Mask:
    """Return the mask with ``past`` keys before it that all may see."""
    return mask.shift(query=past, key=past) | keys(range(past)) if past else mask

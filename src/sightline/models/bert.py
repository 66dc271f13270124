"""BERT's encoder: token numbers go in, a vector per token comes out; the mask says who sees whom.

The heads that it is pre-trained with are in bert_heads.py, the names of transformers' weights in
bert_weights.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from sightline.engines.shared import refuse_shared, token_positions, token_stop
from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.masks.mask import Mask
from sightline.masks.positional import everything
from sightline.models.config_checks import check_heads, check_rates, check_sizes
from sightline.models.token_checks import check_tokens
from sightline.nn.attention import MultiheadAttention
from sightline.nn.linear import linear
from sightline.nn.positions import LearnedPositions
from sightline.nn.silent import layer_norm
from sightline.nn.transformer_layers import TransformerEncoderLayer

__all__ = ["BERT", "BERTConfig", "draw"]


@dataclass(frozen=True)
class BERTConfig:
    """The sizes of a BERT.

    Attributes:
        vocab: how many tokens there are.
        layers: blocks, one after another.
        heads: heads of each block.
        width: features of a token; a multiple of ``heads``.
        hidden: features between the two layers of the feed-forward part; None for 4 * width.
        context: the most positions.
        segments: how many kinds of segments there are.
        dropout: the rate of dropout in training.
        attention_dropout: the rate at which attention weights are dropped; None for ``dropout``.
        epsilon: of the layer norms.
        pooler: whether there is the layer on top of the first token.
        mask: who may see whom where a call says nothing else.
        engine: which engine computes attention, as for ``sl.attend``.

    Raises:
        InvalidArgument: sizes that do not fit.
    """

    vocab: int
    layers: int = 12
    heads: int = 12
    width: int = 768
    hidden: int | None = None
    context: int = 512
    segments: int = 2
    dropout: float = 0.1
    attention_dropout: float | None = None
    epsilon: float = 1e-12
    pooler: bool = True
    mask: Mask = field(default_factory=everything)
    engine: str = "auto"

    def __post_init__(self) -> None:
        check_sizes(self, "vocab", "layers", "heads", "width", "context", "segments")
        check_heads(self)
        check_rates(self, "dropout", "attention_dropout")

    @property
    def attention_rate(self) -> float:
        """The rate at which attention weights are dropped, given or taken from ``dropout``."""
        return self.dropout if self.attention_dropout is None else self.attention_dropout


class Block(TransformerEncoderLayer):
    """Attention and a feed-forward part with erf-GELU, each followed by a norm of the sum."""

    def __init__(self, config: BERTConfig) -> None:
        super().__init__(
            config.width,
            config.heads,
            4 * config.width if config.hidden is None else config.hidden,
            config.dropout,
            "gelu",
            layer_norm_eps=config.epsilon,
            batch_first=True,
            engine=config.engine,
        )
        self.dropout = nn.Dropout(0.0)  # BERT drops nothing between the feed-forward's two maps
        self.self_attn.dropout = config.attention_rate


class BERT(nn.Module):
    """The encoder: tokens, segments and positions are added up, then come post-norm blocks.

    Args:
        config: the sizes.

    Source: Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers", section 3.

    >>> import sightline as sl, torch
    >>> from sightline.models.bert import BERT, BERTConfig
    >>> model = BERT(BERTConfig(vocab=11, layers=2, heads=4, width=32, context=16))
    >>> batch = sl.Batch.from_sequences([[1, 2, 3], [4]])
    >>> model(batch.tokens, mask=batch.place(model.mask)).shape
    torch.Size([2, 3, 32])
    """

    def __init__(self, config: BERTConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab, config.width)
        self.position_embedding = LearnedPositions(config.context, config.width)
        self.segment_embedding = nn.Embedding(config.segments, config.width)
        self.norm = nn.LayerNorm(config.width, config.epsilon)
        self.drop = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.pooler = nn.Linear(config.width, config.width) if config.pooler else None
        self.apply(draw)

    @property
    def mask(self) -> Mask:
        """Who may see whom, where a call says nothing else."""
        return self.config.mask

    def forward(
        self,
        tokens: torch.Tensor,
        *,
        segments: torch.Tensor | None = None,
        positions: torch.Tensor | None = None,
        mask: Mask | None = None,
    ) -> torch.Tensor:
        """Return a vector for each token.

        Args:
            tokens: [batch, length] int64.
            segments: [batch, length] int64, the segment of each token; None for 0.
            positions: [batch, length] int64; None for 0, 1, 2, ... in each row.
            mask: who may see whom, padding and documents included; None for the configuration's.

        Returns:
            [batch, length, width].

        Raises:
            ShapeMismatch: sizes that do not fit, or more positions than ``context``.
            InvalidArgument: numbers of tokens or segments that the model has not.
        """
        x, mask = self.embed(tokens, segments, positions), self.mask if mask is None else mask
        for block in self.blocks:
            x = block(x, mask)
        return x

    def pooled(self, hidden: torch.Tensor, first: torch.Tensor | None = None) -> torch.Tensor:
        """Return what stands for a whole sequence: a layer and tanh on top of its first token.

        Args:
            hidden: [batch, length, width], what ``forward`` returned.
            first: [sequences] int64, where each sequence begins, as row * length + column (they
                may be packed, or padded on the left); None for column 0 of each row.

        Returns:
            [sequences, width].

        Raises:
            InvalidArgument: a model without a pooler.
        """
        refuse_shared("BERT.pooled")
        if self.pooler is None:
            raise InvalidArgument(
                "got a BERT without a pooler; wanted one; make it with BERTConfig(pooler=True)."
            )
        begins = hidden[:, 0] if first is None else hidden.flatten(0, 1).index_select(0, first)
        return torch.tanh(linear(begins, self.pooler.weight, self.pooler.bias))

    @torch.no_grad()
    def attention(
        self,
        tokens: torch.Tensor,
        *,
        segments: torch.Tensor | None = None,
        positions: torch.Tensor | None = None,
        mask: Mask | None = None,
    ) -> list[torch.Tensor]:
        """Return the attention weights of each block, to look at: [batch, heads, length, length].

        The arguments are those of ``forward``. Weights are exactly 0 where the mask forbids.
        """
        x, mask = self.embed(tokens, segments, positions), self.mask if mask is None else mask
        found: list[torch.Tensor] = []
        for block in self.blocks:
            attend: Any = block.self_attn
            found.append(attend(x, mask=mask, average_attn_weights=False)[1])
            x = block(x, mask)
        return found

    def embed(
        self,
        tokens: torch.Tensor,
        segments: torch.Tensor | None = None,
        positions: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return what goes into the first block, [batch, length, width]; arguments as above."""
        check_tokens(tokens)
        if positions is None:
            positions = self._count(tokens)
        if segments is None:
            segments = torch.zeros_like(tokens)
        for name, given in (("segments", segments), ("positions", positions)):
            if given.shape[-1:] != tokens.shape[1:] or given.shape[0] not in (1, len(tokens)):
                raise ShapeMismatch(
                    f"got {name} {list(given.shape)} for tokens {list(tokens.shape)}; wanted the "
                    "same shape, one number for each token."
                )
        x = look_up(self.token_embedding, tokens, "tokens")
        x = x + look_up(self.segment_embedding, segments, "segments")
        x = x + self.position_embedding(positions)
        return self.drop(layer_norm(x, self.norm))

    def _count(self, tokens: torch.Tensor) -> torch.Tensor:
        stop, context = token_stop(tokens.shape[1]), self.config.context
        if stop > context:
            raise ShapeMismatch(
                f"got {stop} positions and a model with context={context}; wanted no more than "
                "the context; cut the text, give positions= of packed sequences, or make the model "
                "with a greater context."
            )
        return token_positions(tokens.shape[1], tokens.device)

    @classmethod
    def from_transformers(cls, model: Any) -> BERT:
        """Return a BERT with the weights (copied) of a ``transformers`` BertModel.

        Any model that has one as ``model.bert``, such as BertForPreTraining, will do.

        Raises:
            InvalidArgument: an option of its configuration that this model lacks.
        """
        from sightline.models.bert_weights import bare_bert, load_bert, read_config

        bare = bare_bert(model)
        made = cls(BERTConfig(**read_config(bare))).to(bare.dtype)
        load_bert(made, bare.state_dict())
        return made.to(bare.device).train(bare.training)

    def transformers_state(self) -> dict[str, torch.Tensor]:
        """Return copies of the weights, named and shaped as BertModel loads them."""
        from sightline.models.bert_weights import bert_state

        return bert_state(self)


def draw(module: nn.Module) -> None:
    """Draw a layer's first weights as BERT does: normal of deviation .02, cut off at two of them.

    For ``nn.Module.apply``; biases become 0.
    """
    if isinstance(module, (nn.Linear, nn.Embedding, LearnedPositions)):
        _draw_weight(module.weight)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
    if isinstance(module, MultiheadAttention):
        assert module.in_proj_weight is not None
        _draw_weight(module.in_proj_weight)


def _draw_weight(weight: torch.Tensor) -> None:
    nn.init.trunc_normal_(weight, std=0.02, a=-0.04, b=0.04)


def look_up(embedding: nn.Embedding, numbers: torch.Tensor, name: str) -> torch.Tensor:
    """Return the vectors of numbers; one that the embedding has not is refused by name."""
    if numbers.device.type == "cpu" and numbers.numel() and not torch.compiler.is_compiling():
        least, most = (int(end) for end in numbers.aminmax())
        if least < 0 or most >= embedding.num_embeddings:
            raise InvalidArgument(
                f"got {name} from {least} to {most}; wanted 0 to {embedding.num_embeddings - 1}; "
                "check that they were made for this model."
            )
    return embedding(numbers)

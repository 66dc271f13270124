"""The Transformer: an encoder that reads a source, a decoder that writes a target from it.

Tokens go in, logits come out; the layers are nn/transformer.py's. Writing the target token by
token is seq2seq_writing.py's part, which masks belong to two batches is seq2seq_masks.py's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import nn

from sightline.engines.shared import token_positions, token_stop
from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.masks.mask import Mask
from sightline.masks.positional import causal, everything
from sightline.models.config_checks import check_heads, check_sizes
from sightline.models.token_checks import check_tokens
from sightline.nn.positions import SinusoidalPositions
from sightline.nn.transformer import Transformer as Layers

__all__ = ["Transformer", "TransformerConfig"]


@dataclass(frozen=True)
class TransformerConfig:
    """The sizes of an encoder-decoder; the defaults are the base model of Vaswani et al. 2017.

    Attributes:
        vocab: how many tokens the target has, and the source too unless ``source_vocab`` is given.
        source_vocab: how many tokens the source has; None for ``vocab``.
        layers: of the encoder, and of the decoder unless ``decoder_layers`` is given.
        decoder_layers: of the decoder; None for ``layers``.
        heads: of every attention; must divide ``width``.
        width: features of a token, an even number.
        hidden: features between the two maps of the feed-forward part.
        context: the most positions of a source or a target.
        dropout: the rate of dropout in training, of attention weights and embeddings too.
        norm_first: norms stand before attention and feed-forward (Xiong et al. 2020, figure 1);
            else after the sums, as published.
        tied: which embeddings are one matrix: "all" (source, target and output, as published, for
            a vocabulary of both languages), "target" (target and output) or "none".
        activation: of the feed-forward part, "relu" or "gelu".
        epsilon: of the layer norms.
        engine: which engine computes attention, as for ``sl.attend``.

    Raises:
        InvalidArgument: sizes that do not fit, or an unknown word.
    """

    vocab: int
    source_vocab: int | None = None
    layers: int = 6
    decoder_layers: int | None = None
    heads: int = 8
    width: int = 512
    hidden: int = 2048
    context: int = 1024
    dropout: float = 0.1
    norm_first: bool = False
    tied: Literal["all", "target", "none"] = "all"
    activation: Literal["relu", "gelu"] = "relu"
    epsilon: float = 1e-5
    engine: str = "auto"

    def __post_init__(self) -> None:
        check_sizes(self, "vocab", "layers", "heads", "width", "hidden", "context")
        check_sizes(self, "source_vocab", "decoder_layers")
        check_heads(self, even=True)
        if self.tied not in ("all", "target", "none"):
            raise InvalidArgument(f"got tied={self.tied!r}; wanted 'all', 'target' or 'none'.")
        if self.tied == "all" and self.read_vocab != self.vocab:
            raise InvalidArgument(
                f"got tied='all' with source_vocab={self.source_vocab} and vocab={self.vocab}; "
                "wanted one vocabulary for both; take tied='target'."
            )

    @property
    def read_vocab(self) -> int:
        """How many tokens the source has."""
        return self.vocab if self.source_vocab is None else self.source_vocab

    @property
    def written_layers(self) -> int:
        """How many layers the decoder has."""
        return self.layers if self.decoder_layers is None else self.decoder_layers

    @property
    def head_dim(self) -> int:
        """Features of one head."""
        return self.width // self.heads


class Transformer(nn.Module):
    """An encoder-decoder of tokens, with a mask for each of its three attentions.

    Who of the source sees whom of it, who of the target sees whom of it, and who of the target
    sees whom of the source. ``seq2seq_masks`` makes the three for padded and for packed batches.

    Args:
        config: the sizes.

    Source: Vaswani et al. 2017, "Attention Is All You Need", section 3. The final norms that
    torch.nn.Transformer has behind its stacks are there with ``norm_first`` and without.

    >>> import sightline as sl, torch
    >>> from sightline.models.seq2seq_masks import seq2seq_masks
    >>> from sightline.models.transformer import Transformer, TransformerConfig
    >>> config = TransformerConfig(vocab=11, layers=2, heads=2, width=16, hidden=32)
    >>> model = Transformer(config).eval()
    >>> source = sl.Batch.from_sequences([[5, 6, 7, 2], [8, 2]])
    >>> target = sl.Batch.from_sequences([[1, 9, 4], [1, 3]])
    >>> logits = model(source.tokens, target.tokens, **seq2seq_masks(source, target))
    >>> logits.shape
    torch.Size([2, 3, 11])
    >>> source, target = source.packed(), target.packed()
    >>> packed = model(source.tokens, target.tokens, **seq2seq_masks(source, target))
    >>> torch.allclose(packed[0, 3:], logits[1, :2], atol=1e-5)
    True
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.target_embedding = nn.Embedding(config.vocab, config.width)
        self.source_embedding = nn.Embedding(config.read_vocab, config.width)
        self.positions = SinusoidalPositions(config.width)
        self.drop = nn.Dropout(config.dropout)
        self.layers = Layers(
            config.width,
            config.heads,
            config.layers,
            config.written_layers,
            config.hidden,
            config.dropout,
            config.activation,
            layer_norm_eps=config.epsilon,
            batch_first=True,
            norm_first=config.norm_first,
            engine=config.engine,
        )
        self.head = nn.Linear(config.width, config.vocab, bias=False)
        for table in (self.target_embedding, self.source_embedding, self.head):
            # Times sqrt(width), as section 3.4 has it, vectors of deviation 1: like the positions.
            nn.init.normal_(table.weight, std=config.width**-0.5)
        if config.tied != "none":
            self.head.weight = self.target_embedding.weight
        if config.tied == "all":
            self.source_embedding.weight = self.target_embedding.weight

    @property
    def mask(self) -> Mask:
        """Who of the target sees whom of it, where a call says nothing else."""
        return causal()

    @property
    def context(self) -> int:
        """The most positions."""
        return self.config.context

    def forward(
        self,
        source: torch.Tensor,
        target: torch.Tensor,
        *,
        source_mask: Mask | None = None,
        target_mask: Mask | None = None,
        memory_mask: Mask | None = None,
        source_positions: torch.Tensor | None = None,
        target_positions: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the logits of the token that follows each token of the target.

        Args:
            source: [batch, S] int64, what is read.
            target: [batch, T] int64, what is written, behind a token that says "begin".
            source_mask: who of the source sees whom of it; None for everybody everybody.
            target_mask: who of the target sees whom of it; None for ``causal()``.
            memory_mask: queries of the target, keys of the source; None for everybody everybody.
            source_positions: [batch, S]; by default 0, 1, 2, ...
            target_positions: [batch, T] likewise.

        Returns:
            [batch, T, vocab].

        Raises:
            ShapeMismatch: sizes that do not fit, or more positions than ``context``.
        """
        memory = self.encode(source, mask=source_mask, positions=source_positions)
        return self.decode(
            target,
            memory,
            mask=target_mask,
            memory_mask=memory_mask,
            positions=target_positions,
        )

    def encode(
        self,
        source: torch.Tensor,
        *,
        mask: Mask | None = None,
        positions: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the memory [batch, S, width] of a source [batch, S]; arguments as in a call."""
        x = self._embed(self.source_embedding, source, positions)
        return self.layers.encoder(x, everything() if mask is None else mask)

    def decode(
        self,
        target: torch.Tensor,
        memory: torch.Tensor,
        *,
        mask: Mask | None = None,
        memory_mask: Mask | None = None,
        positions: torch.Tensor | None = None,
        cache: Any = None,
        logits_at: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the logits [batch, T, vocab] of a target [batch, T], given a memory.

        Args:
            target: tokens; with a cache the new ones only.
            memory: [batch, S, width], what ``encode`` returned.
            mask: who of the target sees whom of it; None for ``causal()``.
            memory_mask: queries of the target, keys of the memory; None for everybody everybody.
            positions: [batch, T]; by default the cache's, or 0, 1, 2, ...
            cache: what ``KVCache.extend`` returned, where the target's past stands in a cache.
            logits_at: [batch, n] which tokens' logits are wanted; by default those of all.

        Raises:
            ShapeMismatch: sizes that do not fit, or more positions than ``context``.
        """
        if positions is None and cache is not None:
            positions = cache.positions
        x = self._embed(self.target_embedding, target, positions)
        if memory.ndim != 3 or len(memory) != len(x) or memory.shape[2] != self.config.width:
            raise ShapeMismatch(
                f"got a memory {list(memory.shape)} for {len(x)} rows of the target; wanted "
                f"[{len(x)}, length, {self.config.width}], as encode returns it."
            )
        x = self.layers.decoder(
            x,
            memory,
            tgt_mask=self.mask if mask is None else mask,
            memory_mask=everything() if memory_mask is None else memory_mask,
            cache=cache,
        )
        if logits_at is not None:
            x = x.gather(1, logits_at[:, :, None].expand(-1, -1, x.shape[2]))
        return self.head(x)

    def _embed(
        self, table: nn.Embedding, tokens: torch.Tensor, positions: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the vectors of tokens at their positions, [batch, length, width]."""
        check_tokens(tokens)
        if positions is None:
            positions = token_positions(tokens.shape[1], tokens.device)
            stop = token_stop(tokens.shape[1])
        else:
            stop = int(positions.max()) + 1 if positions.numel() else 0
        if stop > self.context:
            raise ShapeMismatch(
                f"got {stop} positions and a model with "
                f"context={self.context}; wanted no more than the context; cut the text, or make "
                "the model with a greater context."
            )
        vectors = table(tokens) * self.config.width**0.5
        return self.drop(vectors + self.positions(positions, vectors.dtype))

    @classmethod
    def from_torch(cls, layers: nn.Transformer, vocab: int, **options: Any) -> Transformer:
        """Return a model with the weights (copied) of a torch.nn.Transformer and new embeddings.

        Args:
            layers: torch's encoder-decoder, of either layout.
            vocab: how many tokens there are.
            options: further fields of the configuration.

        Raises:
            InvalidArgument: layers of another kind than torch's own, or without biases.

        >>> theirs = torch.nn.Transformer(16, 2, 1, 1, 32, batch_first=True)
        >>> Transformer.from_torch(theirs, vocab=11).config.hidden
        32
        """
        first = layers.encoder.layers[0]
        if not isinstance(first, nn.TransformerEncoderLayer) or first.linear1.bias is None:
            raise InvalidArgument(
                f"got a layer of type {type(first).__name__}; wanted torch's own encoder-decoder "
                "with biases."
            )
        relu = first.activation in (nn.functional.relu, torch.relu) or isinstance(
            first.activation, nn.ReLU
        )
        config = TransformerConfig(
            vocab=vocab,
            layers=len(layers.encoder.layers),
            decoder_layers=len(layers.decoder.layers),
            heads=layers.nhead,
            width=layers.d_model,
            hidden=first.linear1.out_features,
            dropout=first.dropout.p,
            norm_first=first.norm_first,
            activation="relu" if relu else "gelu",
            epsilon=first.norm1.eps,
        )
        made = cls(replace(config, **options)).to(first.linear1.weight.dtype)
        made.layers.load_state_dict(layers.state_dict())
        return made.to(first.linear1.weight.device).train(layers.training)

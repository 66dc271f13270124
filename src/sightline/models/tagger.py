"""A tagger: one tag for each word, from its spelling and from the words around it.

Words become rows of numbers in tagger_words.py. The encoder is a Transformer, or for comparison an
LSTM or a GRU that reads in both directions; training is recipes/tagger's part.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import nn

from sightline.engines.shared import token_positions
from sightline.errors import CannotExpress, InvalidArgument, InvalidMask, ShapeMismatch
from sightline.masks.data import Segments
from sightline.masks.mask import Mask
from sightline.masks.positional import everything
from sightline.models.config_checks import check_heads, check_sizes
from sightline.models.tagger_words import COLUMNS
from sightline.nn.linear import linear
from sightline.nn.positions import LearnedPositions, Rotary, SinusoidalPositions
from sightline.nn.recurrent import MaskedGRU, MaskedLSTM
from sightline.nn.silent import layer_norm
from sightline.nn.transformer import TransformerEncoder
from sightline.nn.transformer_layers import TransformerEncoderLayer
from sightline.nn.valid import read_documents, read_valid

__all__ = ["Tagger", "TaggerConfig"]

Positions = Literal["sinusoidal", "learned", "rotary", "none"]
Encoder = Literal["transformer", "lstm", "gru"]


@dataclass(frozen=True)
class TaggerConfig:
    """The sizes of a tagger, what encodes, and who may see whom.

    Attributes:
        words: how many numbers the first column of the input may hold (``Words.size``).
        tags: how many tags there are.
        buckets: the greatest number in the other columns (``Words.buckets``).
        word_width: features of a word's own vector.
        spelling_width: features of an affix's or a shape's vector.
        encoder: "transformer", "lstm" or "gru" (both directions, ``width / 2`` features each).
        layers: of the encoder.
        heads: attention heads of each layer; a recurrent encoder has none.
        width: features of a word in its sentence; a multiple of ``heads``, and even.
        hidden: features between the two layers of the feed-forward part.
        positions: how the Transformer is told where a word stands: "sinusoidal" and "learned" add
            a vector to the word's, "rotary" turns queries and keys, "none" tells nothing. A
            recurrent encoder takes "none": it reads in order.
        context: the most positions, where they are learned.
        dropout: the rate of dropout in training.
        epsilon: of the layer norms.
        mask: who may see whom where a call says nothing else; ``sl.window(left=4, right=4)`` looks
            at neighbours only, ``sl.causal()`` at what came before. A recurrent encoder takes
            ``everything()`` only.
        engine: which engine computes attention, as for ``sl.attend``.

    Raises:
        InvalidArgument: sizes that do not fit, or an unknown word.
    """

    words: int
    tags: int
    buckets: int = 16384
    word_width: int = 64
    spelling_width: int = 32
    encoder: Encoder = "transformer"
    layers: int = 2
    heads: int = 4
    width: int = 128
    hidden: int = 256
    positions: Positions = "sinusoidal"
    context: int = 512
    dropout: float = 0.1
    epsilon: float = 1e-5
    mask: Mask = field(default_factory=everything)
    engine: str = "auto"

    def __post_init__(self) -> None:
        sizes = "words tags buckets word_width spelling_width layers heads width hidden context"
        check_sizes(self, *sizes.split())
        for name, kinds in (("encoder", Encoder), ("positions", Positions)):
            if getattr(self, name) not in get_args(kinds):
                raise InvalidArgument(
                    f"got {name}={getattr(self, name)!r}; wanted one of {get_args(kinds)}."
                )
        check_heads(self, even=True)
        if self.positions == "rotary" and self.width // self.heads % 2:
            raise InvalidArgument(
                f"got heads of {self.width // self.heads} features with rotary positions; wanted "
                "an even number; change width or heads."
            )
        if self.encoder != "transformer" and self.positions != "none":
            raise InvalidArgument(
                f"got encoder={self.encoder!r} with positions={self.positions!r}; wanted "
                "positions='none': a recurrent encoder reads in order and needs to be told nothing."
            )
        if self.encoder != "transformer" and self.mask != everything():
            raise _no_recurrent_mask(self.encoder, self.mask)


class Tagger(nn.Module):
    """One tag for each word of a sentence: spelling and neighbours in, logits out.

    A word's vector and those of its prefixes, suffixes and shape stand side by side, a linear map
    makes ``width`` features of them, and the encoder lets the words see each other. Without
    positions and with a mask that tells no places apart, a Transformer gives equal words equal
    vectors wherever they stand ("I saw a saw"); positions or a causal mask tell them apart.

    Args:
        config: the sizes, the encoder and the mask.

    Source: the encoder is that of Vaswani et al. 2017, section 3.1, norms first (Xiong et al. 2020,
    figure 1); the recurrent ones are the encoders of Plank et al. 2016, "Multilingual
    part-of-speech tagging with bidirectional long short-term memory models", section 2.

    >>> import sightline as sl, torch
    >>> from sightline.models.tagger import Tagger, TaggerConfig
    >>> from sightline.models.tagger_words import Words
    >>> words = Words(known=("i", "a", "saw"), buckets=50)
    >>> model = Tagger(TaggerConfig(words=words.size, tags=17, buckets=words.buckets))
    >>> sentences = [["I", "saw", "a", "saw"], ["So", "what"]]
    >>> batch = sl.Batch.from_sequences([torch.from_numpy(words.rows(each)) for each in sentences])
    >>> model(batch.tokens, positions=batch.positions, mask=batch.place(model.mask)).shape
    torch.Size([2, 4, 17])
    """

    def __init__(self, config: TaggerConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.word_embedding = nn.Embedding(config.words, config.word_width)
        self.spelling_embedding = nn.Embedding(config.buckets + 1, config.spelling_width)
        self.join = nn.Linear(config.word_width + (COLUMNS - 1) * config.spelling_width, width)
        self.norm = nn.LayerNorm(width, config.epsilon)
        self.position: nn.Module | None = None
        if config.positions == "sinusoidal":
            self.position = SinusoidalPositions(width)
        elif config.positions == "learned":
            self.position = LearnedPositions(config.context, width)
        self.drop = nn.Dropout(config.dropout)
        self.encoder = _encoder(config)
        self.head = nn.Linear(width, config.tags)
        for table in (self.word_embedding, self.spelling_embedding):
            nn.init.normal_(table.weight, std=0.1)

    @property
    def mask(self) -> Mask:
        """Who may see whom, where a call says nothing else."""
        return self.config.mask

    def forward(
        self,
        tokens: torch.Tensor,
        *,
        positions: torch.Tensor | None = None,
        mask: Mask | None = None,
    ) -> torch.Tensor:
        """Return each word's logits over the tags.

        Args:
            tokens: [batch, length, COLUMNS] int64, rows of ``Words.rows``; padding may hold
                anything that is a number of the tables, such as 0.
            positions: [batch|1, length] where each word stands in its sentence, such as
                ``batch.positions``; None for 0, 1, 2, ... Only added positions ask for it.
            mask: who may see whom, padding and documents included (``batch.place(model.mask)``),
                instead of the configuration's. A recurrent encoder takes padding or documents.

        Returns:
            [batch, length, tags].

        Raises:
            ShapeMismatch: tokens of another shape.
            CannotExpress: a mask that a recurrent encoder cannot follow.
        """
        return self._linear(self.encode(tokens, positions=positions, mask=mask), self.head)

    def encode(
        self,
        tokens: torch.Tensor,
        *,
        positions: torch.Tensor | None = None,
        mask: Mask | None = None,
    ) -> torch.Tensor:
        """Return each word's vector in its sentence, [batch, length, width]; as ``forward``."""
        x = self._embed(tokens, positions)
        mask = self.config.mask if mask is None else mask
        if isinstance(self.encoder, TransformerEncoder):
            return self.encoder(x, mask)
        return self._recur(x, mask)

    def attention(
        self,
        tokens: torch.Tensor,
        *,
        positions: torch.Tensor | None = None,
        mask: Mask | None = None,
    ) -> list[torch.Tensor]:
        """Return the attention weights of each layer, [batch, heads, length, length], to look at.

        Raises:
            InvalidArgument: the encoder is a recurrent one, which has no attention.
        """
        if not isinstance(self.encoder, TransformerEncoder):
            raise InvalidArgument(
                f"got a tagger with encoder={self.config.encoder!r}, which has no attention; "
                "wanted encoder='transformer'."
            )
        x = self._embed(tokens, positions)
        mask = self.config.mask if mask is None else mask
        found: list[torch.Tensor] = []
        layers: Any = self.encoder.layers
        for layer in layers:
            seen = layer_norm(x, layer.norm1)
            found.append(layer.self_attn(seen, mask=mask, average_attn_weights=False)[1])
            x = layer(x, mask)
        return found

    def _embed(self, tokens: torch.Tensor, positions: torch.Tensor | None) -> torch.Tensor:
        if tokens.ndim != 3 or tokens.shape[2] != COLUMNS or tokens.dtype != torch.int64:
            raise ShapeMismatch(
                f"got tokens {list(tokens.shape)} of {tokens.dtype}; wanted [batch, length, "
                f"{COLUMNS}] of torch.int64; make the rows with Words.rows."
            )
        spelling = self.spelling_embedding(tokens[:, :, 1:]).flatten(2)
        x = torch.cat([self.word_embedding(tokens[:, :, 0]), spelling], dim=-1)
        x = layer_norm(self._linear(self.drop(x), self.join), self.norm)
        if self.position is not None:
            if positions is None:
                positions = token_positions(tokens.shape[1], tokens.device)
            x = x + self.position(positions).to(x.dtype)
        return self.drop(x)

    def _recur(self, x: torch.Tensor, mask: Mask) -> torch.Tensor:
        """Run a recurrent encoder over the sentences that the mask tells apart."""
        batch, length = x.shape[:2]
        if isinstance(mask, Segments):
            ids = read_documents(mask, batch, length, x.device).expand(batch, length)
            return _each_alone(self.encoder, x, ids)
        try:
            valid = read_valid(mask, batch, length, x.device)
        except InvalidMask as error:
            raise _no_recurrent_mask(self.config.encoder, mask) from error
        return self.encoder(x, valid)[0]

    @staticmethod
    def _linear(x: torch.Tensor, layer: nn.Linear) -> torch.Tensor:
        """Return ``layer(x)``; a row without a gradient adds none, whatever it holds."""
        return linear(x, layer.weight, layer.bias)


def _encoder(config: TaggerConfig) -> nn.Module:
    if config.encoder == "transformer":
        last = nn.LayerNorm(config.width, config.epsilon)
        encoder = TransformerEncoder(_layer(config), config.layers, last)
        # torch begins with copies of one layer; here each draws its own first weights.
        encoder.layers = nn.ModuleList(_layer(config) for _ in range(config.layers))
        return encoder
    kind = MaskedLSTM if config.encoder == "lstm" else MaskedGRU
    return kind(
        config.width,
        config.width // 2,
        num_layers=config.layers,
        dropout=config.dropout if config.layers > 1 else 0.0,
        bidirectional=True,
    )


def _layer(config: TaggerConfig) -> TransformerEncoderLayer:
    rotary = Rotary(config.width // config.heads) if config.positions == "rotary" else None
    return TransformerEncoderLayer(
        config.width,
        config.heads,
        config.hidden,
        config.dropout,
        layer_norm_eps=config.epsilon,
        batch_first=True,
        norm_first=True,
        positions=rotary,
        engine=config.engine,
    )


def _each_alone(encoder: nn.Module, x: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Return a recurrent encoder's outputs for packed rows, each document run by itself.

    Args:
        encoder: takes [documents, longest, features] and which of it is real.
        x: [batch, length, features].
        ids: [batch, length], the document of each position; negative is none.
    """
    batch, length = ids.shape
    rows = torch.arange(batch, device=ids.device)[:, None]
    real = (ids >= 0).flatten().nonzero()[:, 0]
    if not len(real):
        return encoder(x, (ids >= 0))[0]
    names = (ids + rows * (ids.max() + 1)).flatten()[real]
    _, document, counts = names.unique(return_inverse=True, return_counts=True)
    order = document.argsort(stable=True)
    document, real = document[order], real[order]
    starts = counts.cumsum(0) - counts
    place = torch.arange(len(real), device=ids.device) - starts[document]
    apart = x.new_zeros(len(counts), int(counts.max()), x.shape[2])
    apart = apart.index_put((document, place), x.flatten(0, 1)[real])
    valid = torch.arange(apart.shape[1], device=ids.device) < counts[:, None]
    output = encoder(apart, valid)[0]
    flat = output.new_zeros(batch * length, output.shape[2])
    return flat.index_copy(0, real, output[document, place]).view(batch, length, -1)


def _no_recurrent_mask(encoder: str, mask: Mask) -> CannotExpress:
    return CannotExpress(
        destination=f"a tagger with encoder={encoder!r}",
        part=repr(mask),
        reason="a recurrent layer can be told which positions are real, and which belong "
        "together, but not whom each position sees",
        alternative="padding(...) or documents(...) alone, or encoder='transformer'",
    )

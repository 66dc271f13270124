"""MAMSM's first stage: a BERT that reads the series of one place in the brain as words.

What [CLS] attends to over time are the features that the second stage, mamsm_networks.py, makes
networks of. How numbers become words and which are hidden is recipes/mamsm's part.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from sightline.engines.shared import token_positions, token_stop
from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.masks.mask import Mask
from sightline.masks.positional import everything
from sightline.models.bert import BERT, BERTConfig, draw, look_up
from sightline.models.bert_heads import MLMHead
from sightline.models.config_checks import check_sizes
from sightline.models.token_checks import check_tokens
from sightline.nn.attention import MultiheadAttention
from sightline.nn.linear import linear
from sightline.nn.positions import LearnedPositions
from sightline.nn.silent import activate, layer_norm

__all__ = ["CLS", "HIDDEN", "MAMSM", "PAD", "SEP", "SPECIAL", "MAMSMConfig"]

# The words that stand for no value: padding, the beginning, the end, a hidden value.
PAD, CLS, SEP, HIDDEN = range(4)
SPECIAL = 4


@dataclass(frozen=True)
class MAMSMConfig:
    """The sizes of a MAMSM, and who may see whom.

    Attributes:
        vocab: how many words there are: one for each value, and the four that are none.
        length: the most words of a row, [CLS] and [SEP] among them.
        layers: blocks, one after another.
        heads: heads of each block.
        width: features of a word.
        head_width: features of a head's queries, keys and values; None for ``width // heads``.
        hidden: features between the two layers of the feed-forward part; None for 4 * width.
        residual: whether the feed-forward part is followed by a norm of the sum, as in BERT. The
            published code has neither sum nor norm there, so False is what was published.
        epsilon: of the layer norms.
        mask: who may see whom where a call says nothing else.
        engine: which engine computes attention, as for ``sl.attend``.

    Raises:
        InvalidArgument: sizes that do not fit.
    """

    vocab: int
    length: int
    layers: int = 3
    heads: int = 6
    width: int = 284
    head_width: int | None = 64
    hidden: int | None = None
    residual: bool = False
    epsilon: float = 1e-5
    mask: Mask = field(default_factory=everything)
    engine: str = "auto"

    def __post_init__(self) -> None:
        check_sizes(self, "vocab", least=SPECIAL + 1)
        check_sizes(self, "length", least=3)
        check_sizes(self, "layers", "heads", "width", "head_width", "hidden")
        if self.head_width is None and self.width % self.heads:
            raise InvalidArgument(
                f"got width={self.width} and heads={self.heads}; wanted a width that is a multiple "
                f"of the heads, or head_width= of their own."
            )


class Block(nn.Module):
    """Attention, a norm of the sum, a feed-forward part; sum and norm after that if asked for."""

    def __init__(self, config: MAMSMConfig) -> None:
        super().__init__()
        width = config.width
        hidden = 4 * width if config.hidden is None else config.hidden
        self.self_attn = MultiheadAttention(
            width,
            config.heads,
            batch_first=True,
            head_dim=config.head_width,
            engine=config.engine,
        )
        self.norm1 = nn.LayerNorm(width, config.epsilon)
        self.linear1 = nn.Linear(width, hidden)
        self.linear2 = nn.Linear(hidden, width)
        self.norm2 = nn.LayerNorm(width, config.epsilon) if config.residual else None

    def forward(self, x: torch.Tensor, mask: Mask) -> torch.Tensor:
        """Return vectors [batch, length, width] of such vectors."""
        seen, _ = self.self_attn(x, mask=mask, need_weights=False)
        x = layer_norm(x + seen, self.norm1)
        made = activate(linear(x, self.linear1.weight, self.linear1.bias), functional.gelu)
        made = linear(made, self.linear2.weight, self.linear2.bias)
        return made if self.norm2 is None else layer_norm(x + made, self.norm2)


class MAMSM(nn.Module):
    """The first stage: hidden values of a series are guessed from the others.

    A row is [CLS], the values of one place at all times, [SEP], and padding where rows differ in
    length. Each word sees every word that is no padding.

    Nothing that [CLS] gathers in the *last* block reaches the loss of hidden values, which are
    never at its place: the weights that make its attention there are learned for the other words'
    sake.

    Args:
        config: the sizes and the mask.

    Source: MAMSM, Frontiers in Neuroscience 2023, doi 10.3389/fnins.2023.1183145, and its code,
    hems354/MAMSM, whose head for the next sentence is not trained and left out here.

    >>> import sightline as sl, torch
    >>> from sightline.models.mamsm import MAMSM, MAMSMConfig
    >>> model = MAMSM(MAMSMConfig(vocab=14, length=9, layers=2, heads=3, width=8, head_width=4))
    >>> rows = [torch.tensor([1, 5, 3, 7, 9, 2]), torch.tensor([1, 6, 2])]
    >>> batch = sl.Batch.from_sequences(rows)
    >>> model(batch.tokens, mask=batch.mask).shape
    torch.Size([2, 6, 14])
    >>> model.cls_attention(batch.tokens, mask=batch.mask)[1, :, 3:].any()
    tensor(False)
    """

    def __init__(self, config: MAMSMConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab, config.width)
        self.position_embedding = LearnedPositions(config.length, config.width)
        self.norm = nn.LayerNorm(config.width, config.epsilon)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.apply(draw)
        sizes = BERTConfig(
            vocab=config.vocab, heads=1, width=config.width, epsilon=config.epsilon, pooler=False
        )
        self.mlm = MLMHead(sizes, self.token_embedding)

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
        places: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the logits of the values.

        Args:
            tokens: [batch, length] int64, some of them hidden.
            positions: [batch or 1, length] int64; None for 0, 1, 2, ... in each row.
            mask: who may see whom, padding included (``batch.mask``); None for the configuration's.
            places: [n] int64, where logits are wanted, as row * length + column; None for
                everywhere. Elsewhere they are not computed.

        Returns:
            [batch, length, vocab], or [n, vocab] of the places that were asked for.

        Raises:
            ShapeMismatch: sizes that do not fit, or rows longer than the model's ``length``.
            InvalidArgument: numbers of words that the model has not.
        """
        mask = self.mask if mask is None else mask
        hidden = self._embed(tokens, positions)
        for block in self.blocks:
            hidden = block(hidden, mask)
        asked = hidden if places is None else hidden.flatten(0, 1).index_select(0, places)
        return self.mlm(asked)

    @torch.no_grad()
    def cls_attention(self, tokens: torch.Tensor, *, mask: Mask | None = None) -> torch.Tensor:
        """Return what [CLS] attends to in the last block: [batch, heads, length].

        Each row sums to 1, and is exactly 0 at padding. [CLS] stands in column 0, padding on the
        right; the other arguments are those of ``forward``.
        """
        mask = self.mask if mask is None else mask
        x = self._embed(tokens, None)
        *before, last = self.blocks
        for block in before:
            x = block(x, mask)
        attend: Any = last.self_attn
        return attend(x[:, :1], x, mask=mask, average_attn_weights=False)[1][:, :, 0]

    def _embed(self, tokens: torch.Tensor, positions: torch.Tensor | None) -> torch.Tensor:
        check_tokens(tokens)
        length, most = tokens.shape[1], self.config.length
        if positions is None:
            stop = token_stop(length)
            if stop > most:
                raise ShapeMismatch(
                    f"got rows of {stop} words and a model with length={most}; wanted no more; "
                    "cut the series, or make the model with a greater length."
                )
            positions = token_positions(length, tokens.device)
        x = look_up(self.token_embedding, tokens, "tokens") + self.position_embedding(positions)
        return layer_norm(x, self.norm)

    @classmethod
    def from_transformers(cls, model: Any) -> MAMSM:
        """Return one with the weights (copied) of a ``transformers`` BertForMaskedLM.

        Only the standard block is theirs, so ``residual`` is True. All words are of the first
        segment, whose vector is added to those of the positions.

        Raises:
            InvalidArgument: an option of its configuration that this model lacks.
        """
        bert = BERT.from_transformers(model)
        given = bert.config
        names = ("vocab", "layers", "heads", "width", "hidden", "epsilon")
        sizes = {name: getattr(given, name) for name in names}
        made = cls(MAMSMConfig(**sizes, length=given.context, head_width=None, residual=True))
        state = bert.state_dict()
        segment = state.pop("segment_embedding.weight")[0]
        state["position_embedding.weight"] = state["position_embedding.weight"] + segment
        theirs = model.state_dict()
        for our, their in (
            ("dense", "transform.dense"),
            ("norm", "transform.LayerNorm"),
            ("decoder", "decoder"),
        ):
            for what in ("weight", "bias"):
                state[f"mlm.{our}.{what}"] = theirs[f"cls.predictions.{their}.{what}"]
        made = made.to(model.dtype)
        made.load_state_dict(state)
        return made.to(model.device).train(model.training)

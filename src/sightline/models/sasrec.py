"""SASRec: which item a user clicks next, by causal attention over the clicks so far.

Items go in as numbers (0 is padding), scores of items come out. Its masks are fields of the
configuration, so that each can be left out and missed. Training is recipes/recommender.py's part;
click_rnn.py is the same with a recurrent layer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from sightline.engines.attend import attend, attention_weights
from sightline.engines.shared import refuse_shared
from sightline.errors import ShapeMismatch
from sightline.masks.mask import Mask
from sightline.masks.padding import padding
from sightline.masks.positional import causal, everything
from sightline.models.config_checks import check_heads, check_rates, check_sizes
from sightline.models.token_checks import check_tokens
from sightline.nn.batch import Batch
from sightline.nn.valid import clear

PAD = 0  # the number of no item


@dataclass(frozen=True)
class SASRecConfig:
    """The sizes of a SASRec, and which of its masks it has.

    Attributes:
        vocab: how many numbers items have: 0 for padding, items from 1 to ``vocab - 1``.
        layers: blocks, one after another.
        heads: attention heads of each block.
        width: features of an item; a multiple of ``heads``.
        hidden: features between the two layers of the feed-forward part; None for ``width``.
        context: the most clicks; the last one stands at position ``context - 1``.
        dropout: the rate of dropout in training: of the sum of item and position, of attention
            weights, behind both layers of the feed-forward part.
        epsilon: of the layer norms.
        causal_mask: no click sees a later one.
        key_mask: nobody sees padding.
        query_mask: padding sees nothing.
        clear_padding: features at padding are set to 0 at the start and after each block. With
            ``key_mask``, neither this nor ``query_mask`` changes anything at a real click.
        engine: which engine computes attention, as for ``sl.attend``.

    Raises:
        InvalidArgument: sizes that do not fit, or a bad rate.
    """

    vocab: int
    layers: int = 2
    heads: int = 1
    width: int = 50
    hidden: int | None = None
    context: int = 50
    dropout: float = 0.5
    epsilon: float = 1e-8
    causal_mask: bool = True
    key_mask: bool = True
    query_mask: bool = True
    clear_padding: bool = True
    engine: str = "auto"

    def __post_init__(self) -> None:
        check_sizes(self, "vocab", least=2)
        check_sizes(self, "layers", "heads", "width", "hidden", "context")
        check_heads(self)
        check_rates(self, "dropout")

    @property
    def mask(self) -> Mask:
        """Who may see whom among real clicks."""
        return causal() if self.causal_mask else everything()


class Block(nn.Module):
    """Attention of normed queries over keys as they are, then a feed-forward part.

    Both residuals lead around from behind the norm, as published; there is no map behind the
    heads.
    """

    def __init__(self, config: SASRecConfig) -> None:
        super().__init__()
        self.config = config
        width, hidden = config.width, config.hidden or config.width
        self.query_norm = nn.LayerNorm(width, config.epsilon)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.forward_norm = nn.LayerNorm(width, config.epsilon)
        self.up = nn.Linear(width, hidden)  # "1x1 convolutions" in the source
        self.down = nn.Linear(hidden, width)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: torch.Tensor, mask: Mask) -> torch.Tensor:
        """Return [batch, length, width] after this block."""
        asking = self.query_norm(x)
        rate = self.config.dropout if self.training else 0.0
        parts = (
            self._heads(self.query(asking)),
            self._heads(self.key(x)),
            self._heads(self.value(x)),
        )
        seen = attend(*parts, mask, dropout=rate, engine=self.config.engine)
        normed = self.forward_norm(seen.transpose(1, 2).flatten(2) + asking)
        added = self.drop(self.down(self.drop(torch.relu(self.up(normed)))))
        return added + normed

    def weights(self, x: torch.Tensor, mask: Mask) -> torch.Tensor:
        """Return the attention weights [batch, heads, length, length], for looking."""
        query, key = self._heads(self.query(self.query_norm(x))), self._heads(self.key(x))
        return attention_weights(query, key, mask)

    def _heads(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(2, (self.config.heads, -1)).transpose(1, 2)


class SASRec(nn.Module):
    """Self-attentive sequential recommendation: each click's features score what comes next.

    Which clicks are real is read off the items' numbers, before positions are added: afterwards
    nothing at padding is 0 any more. (The source reads it off vectors: whether the sum of the
    features is 0. For queries these are behind a layer norm, where padding holds the learned
    shift, so that the query mask there masks nothing after the first update.)

    Positions are counted from the right: the last click stands at ``context - 1``, whatever came
    before. So padding stands on the left, or there is none: ``right_aligned`` gives the positions
    of any other layout, packed ones too, and with them all layouts give the same scores.

    Args:
        config: the sizes and the masks.

    Source: Kang and McAuley 2018, "Self-Attentive Sequential Recommendation", section III, and
    the authors' code (kang205/SASRec).

    >>> import sightline as sl, torch
    >>> from sightline.models.sasrec import SASRec, SASRecConfig, right_aligned
    >>> model = SASRec(SASRecConfig(vocab=9, width=8, context=5, dropout=0.0))
    >>> clicks = sl.Batch.from_sequences([[3, 1, 4], [1, 5]], side="left")
    >>> scores = model(clicks.tokens)                    # [users, clicks, items]
    >>> packed = clicks.packed()                         # 5 clicks in a row, no padding
    >>> same = model(
    ...     packed.tokens,
    ...     positions=right_aligned(packed, model.config.context),
    ...     mask=packed.place(model.mask),
    ... )
    >>> bool(torch.allclose(packed.last(same)[:, 1:], clicks.last(scores)[:, 1:], atol=1e-6))
    True
    """

    def __init__(self, config: SASRecConfig) -> None:
        super().__init__()
        self.config = config
        self.item_embedding = nn.Embedding(config.vocab, config.width, padding_idx=PAD)
        self.position_embedding = nn.Embedding(config.context, config.width)
        self.drop = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width, config.epsilon)
        draw_weights(self)

    @property
    def mask(self) -> Mask:
        """Who may see whom among real clicks, where a call says nothing else."""
        return self.config.mask

    def forward(
        self,
        items: torch.Tensor,
        *,
        positions: torch.Tensor | None = None,
        mask: Mask | None = None,
        candidates: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return how likely each candidate is the next click, behind each click.

        Args:
            items: [batch, length] int64; 0 is padding.
            positions: [batch or 1, length]; by default columns, the last at ``context - 1``.
            mask: who may see whom, instead of the configuration's; packed users need their
                documents here. Padding is hidden on top of it.
            candidates: [batch, length, n] the items to score; by default all.

        Returns:
            [batch, length, n]; or [batch, length, vocab], where column 0 is 0 and stands for no
            item: leave it out before looking for the best. What stands behind padding means
            nothing.

        Raises:
            ShapeMismatch: sizes that do not fit, or more clicks than ``context``.
        """
        features = self.features(items, positions=positions, mask=mask)
        return score_items(features, self.item_embedding, candidates)

    def features(
        self,
        items: torch.Tensor,
        *,
        positions: torch.Tensor | None = None,
        mask: Mask | None = None,
    ) -> torch.Tensor:
        """Return what is known behind each click, [batch, length, width]; see ``forward``."""
        x, real, allowed = self._begin(items, positions, mask)
        for block in self.blocks:
            x = self._cleared(block(x, allowed), real)
        return self.norm(x)

    def attention(
        self,
        items: torch.Tensor,
        *,
        positions: torch.Tensor | None = None,
        mask: Mask | None = None,
    ) -> list[torch.Tensor]:
        """Return each block's attention weights [batch, heads, length, length]; see ``forward``."""
        x, real, allowed = self._begin(items, positions, mask)
        found = []
        for block in self.blocks:
            assert isinstance(block, Block)
            found.append(block.weights(x, allowed))
            x = self._cleared(block(x, allowed), real)
        return found

    def _begin(
        self, items: torch.Tensor, positions: torch.Tensor | None, mask: Mask | None
    ) -> tuple[torch.Tensor, torch.Tensor | None, Mask]:
        """Return what goes into the first block, which clicks are real (None: all), the mask."""
        refuse_shared("SASRec")
        check_tokens(items, "items")
        real: torch.Tensor | None = items != PAD
        if real.all():
            real = None
        x = self.item_embedding(items) * math.sqrt(self.config.width)
        x = x + self.position_embedding(self._positions(items, positions))
        x = self._cleared(self.drop(x), real)
        return x, real, self._allowed(real, self.mask if mask is None else mask)

    def _allowed(self, real: torch.Tensor | None, mask: Mask) -> Mask:
        """Return the mask with padding hidden on top, as far as the configuration says so."""
        if real is None:
            return mask
        hidden = padding(valid=real.cpu().numpy())
        if self.config.key_mask:
            mask = mask & hidden
        return mask & hidden.T if self.config.query_mask else mask

    def _cleared(self, x: torch.Tensor, real: torch.Tensor | None) -> torch.Tensor:
        return clear(x, real) if self.config.clear_padding and real is not None else x

    def _positions(self, items: torch.Tensor, positions: torch.Tensor | None) -> torch.Tensor:
        context, length = self.config.context, items.shape[1]
        if positions is not None:
            return positions
        if length > context:
            raise ShapeMismatch(
                f"got {length} clicks and a model with context={context}; wanted no more than the "
                "context; keep the last ones: sl.Batch.from_sequences(..., side='left', "
                f"max_length={context}, truncate='left')."
            )
        return torch.arange(context - length, context, device=items.device)[None]


def right_aligned(batch: Batch, context: int) -> torch.Tensor:
    """Return positions counted from the right: each sequence's last token at ``context - 1``.

    Args:
        batch: sequences in any layout, none longer than ``context``.
        context: how many positions there are.

    Returns:
        int64 [rows, length] as the batch is laid out; 0 at padding.

    Raises:
        ShapeMismatch: a sequence longer than ``context``.

    >>> right_aligned(Batch.from_lengths([3, 1], side="packed"), 50).tolist()
    [[47, 48, 49, 49]]
    """
    if max(batch.lengths) > context:
        raise ShapeMismatch(
            f"got a sequence of {max(batch.lengths)} for {context} positions; wanted no longer "
            f"ones; cut them with max_length={context}, truncate='left'."
        )
    counted = [torch.arange(context - length, context) for length in batch.lengths]
    return batch.scatter(torch.cat(counted))


def score_items(
    features: torch.Tensor, table: nn.Embedding, candidates: torch.Tensor | None
) -> torch.Tensor:
    """Return the dot products of features [..., width] with the candidates' vectors.

    Args:
        features: [..., width].
        table: the vectors of all items; row 0 is padding's.
        candidates: [..., n] items; None for all.

    Returns:
        [..., n]; for all items [..., vocab]. 0 for padding.
    """
    if candidates is None:
        scores = functional.linear(features, table.weight[PAD + 1 :])
        return functional.pad(scores, (1, 0))
    if candidates.shape[:-1] != features.shape[:-1]:
        raise ShapeMismatch(
            f"got candidates {list(candidates.shape)} for {list(features.shape[:-1])} clicks; "
            "wanted [batch, length, n]; add an axis with candidates[..., None]."
        )
    vectors = table(candidates)
    if not (real := candidates != PAD).all():
        vectors = clear(vectors, real)
    return (vectors @ features[..., None])[..., 0]


def draw_weights(model: nn.Module) -> None:
    """Draw first weights as published: matrices by Glorot and Bengio 2010, shifts 0."""
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.xavier_uniform_(module.weight)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            nn.init.zeros_(module.weight.data[module.padding_idx])


__all__ = ["PAD", "SASRec", "SASRecConfig", "right_aligned", "score_items"]

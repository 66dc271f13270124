"""The scene of the mistakes: one batch, one set of weights, and the measures taken on them.

Every mistake is made on these same numbers, and its measure is taken of the right way too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

import sightline as sl
from sightline.recipes.demo.frame import Frame
from sightline.recipes.demo.layer import Layer, Model
from sightline.recipes.demo.records import Drawing

__all__ = ["Scene", "scores_of", "share_on"]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A padded batch on the way into a decoder layer.

    Attributes:
        model: the weights that all mistakes share.
        frame, left: the batch with its padding on the right, and on the left.
        example: the row of the batch that is drawn.
        states: word vectors + positions of ``frame``, [batch, width, model width].
        query, key, value: their heads, [batch, heads, width, head width].
    """

    model: Model
    frame: Frame
    left: Frame
    example: int
    states: Tensor
    query: Tensor
    key: Tensor
    value: Tensor

    @classmethod
    def of(cls, model: Model, frame: Frame, left: Frame, example: int) -> Scene:
        """Project the batch once, for all mistakes."""
        states = model.embed(frame.ids)
        return cls(model, frame, left, example, states, *model.decoder.qkv(states))

    @property
    def layer(self) -> Layer:
        """The layer in which the mistakes are made."""
        return self.model.decoder

    @property
    def mask(self) -> sl.Mask:
        """The mask that is meant: no future, no padding."""
        return sl.causal() & self.frame.padding

    @property
    def allowed(self) -> Tensor:
        """``mask`` as a tensor, bool [batch, 1, width, width], True = may attend."""
        return self.seen_under(self.mask)

    def seen_under(self, mask: sl.Mask) -> Tensor:
        """Return ``mask`` at the width of the frame as a bool tensor."""
        return torch.from_numpy(mask.dense(self.frame.width).copy())

    def real(self, rows: Tensor) -> Tensor:
        """Pick the real tokens of [batch, width, ...]: [real tokens, ...]."""
        return rows[self.frame.valid]

    def change_of_the_past(self, run: Callable[[Tensor], Tensor]) -> float:
        """Replace the last word of every sentence; how far does any earlier output move?

        ``run`` maps states [batch, width, model width] to outputs of the same shape.
        """
        ids, rows = self.frame.ids.clone(), range(len(self.frame.lengths))
        last = torch.tensor(self.frame.lengths) - 1
        words = len(self.model.words)
        ids[rows, last] = 1 + ids[rows, last] % (words - 1)  # the next word, never the padding
        earlier = torch.arange(self.frame.width) < last[:, None]
        moved = run(self.model.embed(ids)) - run(self.states)
        return moved[earlier].abs().max().item()

    def picture(self, name: str, mask: sl.Mask, weights: Tensor, caption: str) -> Drawing:
        """Draw the first head's ``weights`` of the example, whose padding is on the right.

        Its words are the rows; of the padding a few columns are shown.
        """
        size = self.frame.lengths[self.example]
        shown = min(self.frame.width, size + 3)
        return self._picture(self.frame, name, mask, weights, caption, (slice(size), slice(shown)))

    def left_picture(self, name: str, mask: sl.Mask, weights: Tensor, caption: str) -> Drawing:
        """Draw the first head's ``weights`` of the example, whose padding is on the left."""
        return self._picture(self.left, name, mask, weights, caption, (slice(None), slice(None)))

    def _picture(
        self,
        frame: Frame,
        name: str,
        mask: sl.Mask,
        weights: Tensor,
        caption: str,
        part: tuple[slice, slice],
    ) -> Drawing:
        allowed, words = mask.dense(frame.width), frame.rows[self.example]
        return Drawing(
            name=name,
            expression=repr(mask),
            allowed=allowed[self.example % len(allowed), 0][part],
            rows=words[part[0]],
            columns=words[part[1]],
            caption=caption,
            weights=weights[self.example, 0].detach().numpy()[part],
        )


def scores_of(query: Tensor, key: Tensor) -> Tensor:
    """Return the scaled scores [batch, heads, queries, keys]."""
    return query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5


def share_on(weights: Tensor, cells: Tensor, rows: Tensor) -> float:
    """Return the share of attention weight that lies on ``cells``, averaged over ``rows``.

    weights [batch, heads, queries, keys]; cells bool, broadcastable to it; rows bool
    [batch, queries]. Rows without any weight (nothing to see) are left out.
    """
    on_cells = (weights * cells).sum(-1).transpose(1, 2)[rows]
    total = weights.sum(-1).transpose(1, 2)[rows]
    seeing = total > 0
    return (on_cells[seeing] / total[seeing]).mean().item()

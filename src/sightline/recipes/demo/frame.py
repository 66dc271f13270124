"""Sentences of different lengths side by side in one rectangle of ids, the frame of a batch.

The frame knows which positions are real; which of them may be seen is said by masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

import sightline as sl
from sightline.recipes.demo.text import PAD, Corpus

__all__ = ["Frame", "frame_of"]

_SPARE = 2


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """Ids [batch, width] with their tokens; ``valid`` [batch, width] is True at real tokens."""

    ids: Tensor
    rows: tuple[tuple[str, ...], ...]
    lengths: tuple[int, ...]
    side: Literal["left", "right"]

    @property
    def width(self) -> int:
        """Positions in the frame, padding included."""
        return self.ids.shape[1]

    @property
    def padding(self) -> sl.Mask:
        """The mask under which no key is padding."""
        lengths = list(self.lengths)
        if self.side == "right":
            return sl.padding(lengths=lengths)
        return sl.padding(lengths=lengths, side="left", total=self.width)

    @property
    def valid(self) -> Tensor:
        """Bool [batch, width]: the token is real. Made from the ids, not from any mask."""
        return self.ids != 0

    def alone(self, row: int) -> Tensor:
        """Return sentence ``row`` by itself, [1, its length]."""
        return self.ids[row : row + 1][:, self.valid[row]]


def frame_of(
    corpus: Corpus,
    sequences: Sequence[Sequence[str]],
    *,
    side: Literal["left", "right"] = "right",
) -> Frame:
    """Lay ``sequences`` of tokens into one frame as wide as the longest.

    Where all are of one length the frame is two wider, as frames of a fixed size are, so that
    there is padding to look at.
    """
    lengths = tuple(len(sequence) for sequence in sequences)
    width = max(lengths) + (_SPARE if len(set(lengths)) == 1 else 0)
    rows = []
    for sequence in sequences:
        pads = (PAD,) * (width - len(sequence))
        rows.append((*sequence, *pads) if side == "right" else (*pads, *sequence))
    ids = torch.tensor([corpus.ids(row) for row in rows])
    return Frame(ids, tuple(rows), lengths, side)

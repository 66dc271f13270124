"""Texts as XLNet is trained on: where the parts of a batch come from, and how they are laid out.

Which tokens are targets and in which order is sampling.py's matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline.masks.mask import Mask
from sightline.masks.positional import everything, keys, queries
from sightline.recipes.xlnet.sampling import (
    Factorization,
    count_targets,
    draw_factorization,
    draw_targets,
)

__all__ = ["MARKS", "Layout", "Texts", "draw_texts"]

MARKS = ("[SEP]", "[CLS]")  # numbered after all characters
_MARKED = 3  # A [SEP] B [SEP] [CLS]

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """The sizes of a text ``[reused part] A [SEP] B [SEP] [CLS]``, and of what is asked of it.

    Attributes:
        length: tokens of a text.
        reused: how many of them stand in the first part.
        memory: how many tokens before the text are remembered.
        perm_size: how long a stretch is whose tokens are shuffled.
        part: one token in this many is predicted.
        longest_run: the most targets side by side.
        context: others around a run of targets, for each of its tokens.
    """

    length: int
    reused: int
    memory: int
    perm_size: int
    part: int
    longest_run: int
    context: int

    @property
    def span(self) -> int:
        """How many characters of the corpus a text may take, one after another."""
        return self.memory + self.length

    @property
    def targets(self) -> tuple[int, int]:
        """How many targets the reused part has, and how many the rest."""
        wanted = count_targets(self.length, self.part)
        first = min(wanted * self.reused // self.length, self.reused)
        return first, min(wanted - first, self.length - self.reused - _MARKED)


@dataclass(frozen=True, eq=False)
class Texts:
    """A batch.

    Attributes:
        past: [batch, memory] the tokens before.
        tokens: [batch, length].
        segments: [batch, length] 0 for the reused part and A, 1 for B, 2 for [CLS].
        order: targets, and in which order they are predicted.
        reused: how many tokens the first part has.
    """

    past: Ints
    tokens: Ints
    segments: Ints
    order: Factorization
    reused: int

    @property
    def content_mask(self) -> Mask:
        """What each token may see; the reused part sees nothing of the rest."""
        return self.order.content_mask & self._parts

    @property
    def query_mask(self) -> Mask:
        """What may be seen when a target is predicted."""
        return self.order.query_mask & self._parts

    @property
    def _parts(self) -> Mask:
        # What is reused as memory must not know what comes after it.
        first = self.reused
        return keys(range(first)) | queries(slice(first, None)) if first else everything()

    @property
    def targets(self) -> Ints:
        """[batch, n] the columns of the targets, in the order that they are predicted in."""
        turns = np.where(self.order.targets, self.order.ranks, self.order.ranks.shape[1])
        count = int(self.order.targets[0].sum())
        return np.argsort(turns, axis=1, kind="stable")[:, :count]


def draw_texts(
    rng: np.random.Generator, numbers: Ints, marks: tuple[int, int], batch: int, layout: Layout
) -> Texts:
    """Draw a batch from a corpus.

    A is as long as chance says; B goes on where A ends or, half of the time, comes from anywhere.

    Args:
        rng: where chance comes from.
        numbers: [n] the corpus, at least ``layout.span`` tokens.
        marks: the numbers of [SEP] and [CLS].
        batch: how many texts.
        layout: their sizes.

    Source: Yang et al. 2019, "XLNet", section 2.5 and 3.1; the authors' code.
    """
    rows = [_draw_text(rng, numbers, marks, layout) for _ in range(batch)]
    past, tokens, segments, functional = (np.stack(each) for each in zip(*rows, strict=True))
    targets = np.stack([_draw_targets(rng, row, layout) for row in functional])
    order = draw_factorization(rng, targets, functional, layout.perm_size)
    return Texts(past, tokens, segments, order, layout.reused)


def _draw_text(
    rng: np.random.Generator, numbers: Ints, marks: tuple[int, int], layout: Layout
) -> tuple[Ints, ...]:
    """Return past, tokens, segments, and where the marks stand."""
    at = int(rng.integers(len(numbers) - layout.span + 1))
    past, reused, rest = np.split(
        numbers[at : at + layout.span], [layout.memory, layout.memory + layout.reused]
    )
    size_a = int(rng.integers(1, layout.length - layout.reused - _MARKED))
    size_b = layout.length - layout.reused - _MARKED - size_a
    after = rest[size_a : size_a + size_b]
    if rng.random() < 0.5:
        other = int(rng.integers(len(numbers) - size_b + 1))
        after = numbers[other : other + size_b]
    sep, cls = marks
    tokens = np.concatenate([reused, rest[:size_a], [sep], after, [sep, cls]])
    segments = np.repeat([0, 1, 2], [layout.reused + size_a + 1, size_b + 1, 1])
    functional = np.zeros(layout.length, dtype=bool)
    functional[[layout.reused + size_a, -2, -1]] = True
    return past, tokens, segments, functional


def _draw_targets(
    rng: np.random.Generator, functional: NDArray[np.bool_], layout: Layout
) -> NDArray[np.bool_]:
    """Return the targets of a text: each part has its own number, and no mark is one."""
    chosen = np.zeros(len(functional), dtype=bool)
    columns = np.flatnonzero(~functional)
    parts = np.split(columns, [layout.reused])
    for places, wanted in zip(parts, layout.targets, strict=True):
        # Characters have no pieces: each of them begins a word.
        starts = np.ones(len(places), dtype=bool)
        chosen[places] = draw_targets(
            rng, starts, wanted, longest=layout.longest_run, context=layout.context
        )
    return chosen

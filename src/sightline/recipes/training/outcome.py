"""What a run brings home: figures beside published ones, examples, masks and attention to look at.

Records only: report.py draws them, cli/ prints them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sightline.masks.mask import Mask

__all__ = ["AttentionMap", "Figure", "MaskShown", "Outcome", "Table"]


@dataclass(frozen=True)
class Figure:
    """One measured number, and what it is to be held against.

    Attributes:
        name: what was measured, with its unit where it has one: "test BLEU", "loss (nats)".
        value: the number.
        target: the number to reach, or None.
        better: whether "higher" or "lower" is better.
        published: the published number, or None.
        source: who published it, under which conditions.
        note: how the difference is explained.
    """

    name: str
    value: float
    target: float | None = None
    better: str = "higher"
    published: float | None = None
    source: str = ""
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the target is met; None if there is none."""
        if self.target is None:
            return None
        return self.value >= self.target if self.better == "higher" else self.value <= self.target


@dataclass(frozen=True)
class Table:
    """Examples, or a comparison: rows of text under a header."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, eq=False)
class MaskShown:
    """A mask of the model at a size, to be drawn with its tokens."""

    title: str
    mask: Mask
    queries: tuple[str, ...]
    keys: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class AttentionMap:
    """Attention weights [queries, keys] of one head (or a mean of heads), to be drawn.

    With ``mask``, what it forbids is drawn apart from what merely got no weight.
    """

    title: str
    weights: np.ndarray
    queries: tuple[str, ...]
    keys: tuple[str, ...]
    mask: Mask | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """All of it. ``notes`` are sentences: what differs from the published setting, and why."""

    figures: tuple[Figure, ...]
    tables: tuple[Table, ...] = ()
    masks: tuple[MaskShown, ...] = ()
    attention: tuple[AttentionMap, ...] = ()
    notes: tuple[str, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)  # further JSON for result.json

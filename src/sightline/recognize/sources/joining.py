"""Calls that join several masks by and: each with four axes, and the lengths that they tell."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sightline.errors import ShapeMismatch
from sightline.recognize.sources.reading import Bools, agreed, refuse_many_pairs


@dataclass
class Joined:
    """Masks ``[batch|1, heads|1, Q|1, K|1]`` of one call, and how they were read.

    Attributes:
        source: the source that is read.
        parts: the masks.
        evidence: a sentence for each.
    """

    source: str
    parts: list[Bools] = field(default_factory=list[Bools])
    evidence: list[str] = field(default_factory=list[str])

    def add(self, part: Bools, words: str) -> None:
        """Join one more mask."""
        self.parts.append(part)
        self.evidence.append(words)

    def lengths(self, q_len: int | None, kv_len: int | None, whole: Any = None) -> tuple[int, int]:
        """Return the lengths; an axis of size 1 tells nothing unless ``whole`` is a full mask."""
        found: list[int] = []
        for name, own, axis in (("q_len", q_len, -2), ("kv_len", kv_len, -1)):
            told = [part.shape[axis] for part in self.parts if part.shape[axis] > 1]
            if whole is not None and own is None and not told:
                own = 1
            found.append(agreed(name, self.source, own, *told))
        refuse_many_pairs(*found)
        return found[0], found[1]

    def allowed(self, lengths: tuple[int, int]) -> Bools:
        """Return what all of them allow.

        Raises:
            ShapeMismatch: batch rows or heads that do not broadcast.
        """
        result = np.ones((1, 1, *lengths), dtype=np.bool_)
        for part in self.parts:
            try:
                result = result & part
            except ValueError:
                raise ShapeMismatch(
                    f"got masks of shapes {list(result.shape)} and {list(part.shape)} (as [batch, "
                    f"heads, Q, K]) for {self.source}; wanted equal sizes, or 1."
                ) from None
        return result

"""What recognition gives back: the expression, how the array was read, and what stays open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sightline.masks.text import short

if TYPE_CHECKING:
    from sightline.masks.mask import Mask

Convention = Literal["attend", "ignore", "additive"]


@dataclass(frozen=True)
class Recognized:
    """An array read back as a mask; exact: ``mask`` has the array's cells, every one.

    Attributes:
        mask: the expression.
        q_offset: the absolute position of the array's first query.
        convention: what the array's values mean: ``"attend"`` (True may), ``"ignore"`` (True may
            not) or ``"additive"`` (0 may).
        evidence: why this convention and this expression, in short sentences.
        ambiguous: what the array alone does not decide.
        warnings: what may be a mistake in the array, though it was read as it is.
    """

    mask: Mask
    q_offset: int
    convention: Convention
    evidence: tuple[str, ...]
    ambiguous: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        offset = f", q_offset={self.q_offset}" if self.q_offset else ""
        return f"Recognized({short(self.mask)}, means={self.convention!r}{offset})"

    def __str__(self) -> str:
        offset = f" at q_offset={self.q_offset}" if self.q_offset else ""
        lines = [f"{self.mask!r}{offset}", f'means "{self.convention}"']
        for title, sentences in (
            ("because", self.evidence),
            ("open", self.ambiguous),
            ("warning", self.warnings),
        ):
            lines += [f"{title}: {sentence}" for sentence in sentences]
        return "\n".join(lines)

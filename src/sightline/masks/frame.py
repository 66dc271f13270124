"""The rectangle of absolute positions at which a mask is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.errors import ShapeMismatch
from sightline.masks.arguments import as_int

if TYPE_CHECKING:
    from sightline.masks.mask import Mask


@dataclass(frozen=True)
class Frame:
    """The rectangle of absolute positions at which a mask is asked."""

    q_len: int
    kv_len: int
    q_offset: int
    kv_offset: int

    @classmethod
    def of(cls, q_len: int, kv_len: int | None, q_offset: int = 0, kv_offset: int = 0) -> Frame:
        """Check the four numbers; ``kv_len`` None means ``q_len``."""
        kv_len = q_len if kv_len is None else kv_len
        return cls(
            _checked(q_len, "q_len"),
            _checked(kv_len, "kv_len"),
            _checked(q_offset, "q_offset"),
            _checked(kv_offset, "kv_offset"),
        )

    @classmethod
    def of_rows(cls, q_start: int, q_stop: int, kv_len: int | None, kv_offset: int) -> Frame:
        """The frame of the queries from ``q_start`` up to ``q_stop``; keys up to there if None."""
        start, stop = _checked(q_start, "q_start"), _checked(q_stop, "q_stop")
        if start > stop:
            raise ShapeMismatch(f"q_start must not be after q_stop, got {start} and {stop}.")
        return cls.of(stop - start, stop if kv_len is None else kv_len, start, kv_offset)

    def check(self, mask: Mask) -> None:
        """Raise ShapeMismatch if the mask is bound to data that end before the frame does."""
        if self.q_len and self.kv_len:
            mask.check_reach(self.q_offset + self.q_len, self.kv_offset + self.kv_len)


def _checked(value: int, name: str) -> int:
    return as_int(value, name, least=0, error=ShapeMismatch)

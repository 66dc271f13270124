"""A sequence whose tokens lie on several ranks: who answers attention here as long as it does.

``attend`` asks this file first, and layers that count positions themselves ask it where their
tokens stand. The answers come from distributed/, which stands above the engines.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch

__all__ = ["SharedSequence", "shared_sequence", "sharing"]


class SharedSequence(Protocol):
    """What is asked while a sequence is shared."""

    def attend(self, query: Any, key: Any, value: Any, mask: Any, **options: Any) -> Any:
        """Return what ``attend`` returns, for this rank's queries and the keys of all ranks."""
        ...

    def positions(self, length: int, device: torch.device) -> torch.Tensor:
        """Return the absolute positions [1|batch, length] of this rank's tokens.

        Raises:
            ShapeMismatch: this rank holds another number of tokens.
        """
        ...


# Not a context variable: gradients of recomputed blocks are worked out in threads of autograd's
# own, which must see it too.
_shared: list[SharedSequence] = []


def shared_sequence() -> SharedSequence | None:
    """Return who answers for the sequence that is shared now; None where all tokens are here."""
    return _shared[-1] if _shared else None


@contextmanager
def sharing(sequence: SharedSequence) -> Iterator[None]:
    """Let ``sequence`` answer inside the block."""
    _shared.append(sequence)
    try:
        yield
    finally:
        _shared.remove(sequence)

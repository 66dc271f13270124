"""A sequence whose tokens lie on several ranks: who answers attention here as long as it does.

``attend`` asks this file first, layers that count positions ask it where their tokens stand, and
what mixes tokens in another way refuses. Answers come from distributed/, above the engines.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch

from sightline.errors import CannotExpress

__all__ = [
    "SharedSequence",
    "asked_inside",
    "in_backward",
    "refuse_recomputed",
    "refuse_shared",
    "shared_sequence",
    "sharing",
    "token_positions",
    "token_stop",
]


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

    def stop(self, length: int) -> int:
        """Return where the whole sequence of these tokens ends; raises as ``positions`` does."""
        ...


# Not a context variable: gradients of recomputed blocks are worked out in threads of autograd's
# own, which must see it too.
_shared: list[SharedSequence | None] = []
# How many queries and keys a rank held where attention was asked inside a block, to recognise it
# if it is asked again in a backward pass outside.
_asked: set[tuple[int, int]] = set()


def shared_sequence() -> SharedSequence | None:
    """Return who answers for the sequence that is shared now; None where all tokens are here."""
    return _shared[-1] if _shared else None


@contextmanager
def sharing(sequence: SharedSequence | None) -> Iterator[None]:
    """Let ``sequence`` answer inside the block; None where all tokens are here again."""
    _shared.append(sequence)
    try:
        yield
    finally:
        _shared.pop()


def asked_inside(queries: int, keys: int) -> None:
    """Remember that attention of so many tokens was asked of a shared sequence."""
    _asked.add((queries, keys))


def in_backward() -> bool:
    """Return whether a backward pass is running, which may work out layers again."""
    return torch._C._current_graph_task_id() != -1


def refuse_recomputed(query: Any, key: Any) -> None:
    """Refuse attention that a backward pass works out again after the block has been left.

    ``torch.utils.checkpoint`` does so; there, a rank's share would be taken for a whole sequence.

    Args:
        query: the tensor [batch, heads, q_len, head_dim], or how many tokens it has.
        key: likewise.

    Raises:
        CannotExpress: such a call, of as many tokens as one inside a block before.
    """
    # An open block says itself what is asked in it, None included.
    if not _asked or _shared or not in_backward():
        return
    queries, keys = (each if isinstance(each, int) else each.shape[2] for each in (query, key))
    if (queries, keys) not in _asked:
        return
    raise CannotExpress(
        destination="context parallelism",
        part="attention that a backward pass works out again outside of the block",
        reason=f"of {queries} queries and {keys} keys, which lie on several ranks as it seems",
        alternative="backward() inside sl.distributed.context_parallel(spread), or inside "
        "context_parallel(None) if all of its tokens are at hand",
    )


def token_positions(length: int, device: torch.device | str) -> torch.Tensor:
    """Return where the tokens of a layer stand, int64 [1|batch, length]: 0, 1, 2, ... or a share's.

    Raises:
        ShapeMismatch: the sequence is shared and this rank holds another number of tokens.
    """
    shared = shared_sequence()
    if shared is not None:
        return shared.positions(length, torch.device(device))
    if not torch.compiler.is_compiling():
        refuse_recomputed(length, length)
    return torch.arange(length, device=device)[None]


def token_stop(length: int) -> int:
    """Return one more than the last position of the sequence that a layer's tokens belong to."""
    shared = shared_sequence()
    return length if shared is None else shared.stop(length)


def refuse_shared(part: str, *, reason: str = "", alternative: str = "") -> None:
    """Refuse what would be wrong on a share of a sequence; does nothing where all tokens are here.

    Args:
        part: the layer, function or argument, as its user wrote it.
        reason: why it would be wrong; by default that it mixes tokens outside of attention.
        alternative: what to do instead; by default to call it outside of the block.

    Raises:
        CannotExpress: a sequence is shared.
    """
    if shared_sequence() is not None:
        raise CannotExpress(
            destination="context parallelism",
            part=part,
            reason=reason
            or "it mixes tokens in another way than attention does, and this rank "
            "holds a share of them",
            alternative=alternative
            or "the same call on the whole sequence (sl.distributed.unshard), outside of "
            "sl.distributed.context_parallel or inside context_parallel(None)",
        )

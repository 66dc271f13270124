"""What is said when ranks cannot reach one another, and who is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sightline.distributed.ranks import Ranks
from sightline.errors import RankError, RankLost

__all__ = ["watched"]


@contextmanager
def watched(ranks: Ranks, what: str) -> Iterator[None]:
    """Turn a failure of torch's communication inside the block into a ``RankLost``.

    Args:
        ranks: who communicates.
        what: what is being done, for the message.

    Raises:
        RankLost: naming who is missing, as far as that can be found out.
    """
    try:
        yield
    except RankError:
        raise
    except RuntimeError as error:
        raise RankLost(f"{what}: a rank cannot be reached ({error}).", ranks=()) from error

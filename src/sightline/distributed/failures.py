"""What is said when ranks cannot reach one another, and who is missing.

``watched`` is for communication that blocks, ``finish`` for one that was started, ``telling`` for
code whose errors the other ranks must learn. Who is missing finds roll_call.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from sightline.distributed.ranks import Ranks
from sightline.errors import RankError

__all__ = ["finish", "telling", "watched"]


@contextmanager
def watched(ranks: Ranks, what: str) -> Iterator[None]:
    """Turn a failure of torch's communication inside the block into a ``RankLost``.

    Args:
        ranks: who communicates.
        what: what is being done, for the message.

    Raises:
        RankLost: naming who is missing, as far as that can be found out.
    """
    if ranks.roll_call is None:
        yield
        return
    if ranks.roll_call.verdict is not None:
        raise ranks.roll_call.verdict.error(what)
    try:
        yield
    except (RankError, torch.OutOfMemoryError):
        raise
    except RuntimeError as error:
        lost = ranks.roll_call.lost(what, "broken", detail=str(error))
        raise lost from (None if lost.ranks else error)  # torch's words name nobody


def finish(work: Any, ranks: Ranks, what: str, *, on_cpu: bool = True) -> None:
    """Wait for a communication that was started with ``async_op=True``.

    Args:
        work: what torch returned.
        ranks: who communicates.
        what: what is being done, for the message.
        on_cpu: whether tensors of the CPU are moved. Elsewhere only the device's queue waits.

    Raises:
        RankLost: a rank died, stopped with an error, or does not come in time.
    """
    if on_cpu and ranks.roll_call is not None:
        ranks.roll_call.wait(work, what)
    else:
        with watched(ranks, what):
            work.wait()


@contextmanager
def telling(ranks: Ranks) -> Iterator[None]:
    """Tell the other ranks of an error that leaves the block, so that they need not wait.

    They raise a ``RankLost`` with its text if they wait for this rank. Where all ranks leave by
    an error at the same call, or this one catches it and goes on, nothing comes of it.
    """
    try:
        yield
    except RankError:  # the others raise it too
        raise
    except BaseException as error:
        if ranks.roll_call is not None:
            ranks.roll_call.leave(error)
        raise

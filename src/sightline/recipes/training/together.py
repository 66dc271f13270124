"""The processes of one run: they meet, and learn which of them cannot go on.

Who is missing finds sightline.distributed; one process alone meets nobody.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch.distributed as dist

from sightline.errors import SightlineError

__all__ = ["Company", "first_to_tell", "outlasting", "tell_torchrun"]


class Company:
    """All processes of a run."""

    def __init__(self, timeout: float) -> None:
        """Find the others, ``timeout`` seconds long; each must do so."""
        self._ranks: Any = None
        several = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        if several:
            from sightline.distributed.ranks import Ranks

            self._ranks = Ranks.of(None, timeout=timeout)

    def meet(self, what: str, **facts: Any) -> None:
        """Wait for the others.

        Args:
            what: for which they come together.
            facts: what must be the same in all of them.

        Raises:
            RankLost: one ended, or does not come in time.
            RanksDisagree: facts that differ.
        """
        if self._ranks is not None:
            from sightline.distributed.agreement import agree

            agree(self._ranks, what, facts)

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        """Tell the others of an error that leaves the block, and name who breaks off a connection.

        Raises:
            RankLost: another process ended.
        """
        if self._ranks is None:
            yield
            return
        from sightline.distributed.failures import telling, watched

        with telling(self._ranks):
            try:
                yield
            except RuntimeError as error:
                if not _of_transport(error):
                    raise
                with watched(self._ranks, what):
                    raise


def first_to_tell() -> bool:
    """Whether this process is the first to ask: what all have found out, one of them says."""
    if not dist.is_available() or not dist.is_initialized():
        return True
    try:
        return dist.distributed_c10d._get_default_store().add("sightline told", 1) == 1
    except RuntimeError:  # who kept the count is gone
        return True


@contextmanager
def outlasting(seconds: float = 5.0) -> Iterator[None]:
    """Go on for a little while after SIGTERM, in a process that torchrun started.

    It sends one to all as soon as one of them has died, before the others can say which.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return

    def end_soon(number: int, frame: Any) -> None:
        end = threading.Timer(seconds, os._exit, (128 + number,))
        end.daemon = True
        end.start()

    before = signal.signal(signal.SIGTERM, end_soon)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def tell_torchrun(message: str) -> None:
    """Have torchrun repeat what is wrong in its own report, which is the last that one reads."""
    from torch.distributed.elastic.multiprocessing.errors import get_error_handler

    try:
        raise SightlineError(message) from None
    except SightlineError as error:
        get_error_handler().record_exception(error)  # it writes down the exception at hand


def _of_transport(error: RuntimeError) -> bool:
    """Whether an error is of the way between processes, not of what they compute."""
    text = str(error).lower()
    return isinstance(error, dist.DistError) or any(
        word in text for word in ("gloo", "connection closed by peer", "connection reset", "nccl")
    )

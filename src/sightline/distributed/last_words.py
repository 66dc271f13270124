"""Time to say what happened, for a process that is told to end while it finds out.

torchrun ends all ranks a moment after one of them died, and its own report does not say why.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["last_words"]


@contextmanager
def last_words() -> Iterator[list[str]]:
    """Put off SIGTERM until the block has ended; then print what is in the list, and obey.

    Only where the signal would end the process at once: a handler of the user's own is left alone.
    """
    words: list[str] = []
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield words
        return
    told: list[int] = []

    def put_off(number: int, frame: Any) -> None:
        told.append(number)

    signal.signal(signal.SIGTERM, put_off)
    try:
        yield words
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if told:
            sys.stderr.write("".join(f"{each}\n" for each in words))
            sys.stderr.flush()
            os.kill(os.getpid(), signal.SIGTERM)

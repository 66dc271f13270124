"""One thread of each process that answers roll calls while the others are busy or wait.

It looks into the store of torch.distributed twice a second. What is said there is roll_call.py's.
"""

from __future__ import annotations

import atexit
import select
import socket
import sys
import threading
import weakref
from typing import Any

from torch.distributed import (
    PrefixStore,  # pyright: ignore[reportPrivateImportUsage]
    TCPStore,  # pyright: ignore[reportPrivateImportUsage]
)

__all__ = ["EVERY", "Line", "listen"]

# Seconds between two looks into the store.
EVERY = 0.5

_members: weakref.WeakSet[Any] = weakref.WeakSet()
_thread: threading.Thread | None = None
_wake = threading.Event()
_stopped = threading.Event()


def listen(member: Any) -> threading.Event:
    """Have ``member.look()`` called regularly; return what to set to have it called at once."""
    global _thread
    _members.add(member)
    if _thread is None or not _thread.is_alive():
        _stopped.clear()
        _thread = threading.Thread(target=_run, name="sightline-roll-call", daemon=True)
        _thread.start()
        atexit.unregister(_stop)
        atexit.register(_stop)
    return _wake


def _run() -> None:
    while not _stopped.is_set():
        _wake.wait(EVERY)
        _wake.clear()
        for member in list(_members):
            if not _stopped.is_set():
                member.look()


def _stop() -> None:
    """End the thread before the interpreter does, and leave word of how this process ended."""
    error = getattr(sys, "last_value", None)
    _stopped.set()
    _wake.set()
    if _thread is not None:
        _thread.join(5)
    for member in list(_members):
        member.end(error)


class Line:
    """A connection to the host of a store on which nothing is said: it breaks when the host dies.

    To ask a dead host would make torch print pages of warnings.
    """

    def __init__(self, store: Any) -> None:
        while isinstance(store, PrefixStore):
            store = store.underlying_store
        self._socket: socket.socket | None = None
        if isinstance(store, TCPStore):
            self._socket = socket.create_connection((store.host, store.port), timeout=10)

    def dead(self) -> bool:
        """Return whether the host is gone."""
        if self._socket is None:  # a store in files or in memory has no host
            return False
        try:
            ready, _, _ = select.select([self._socket], [], [], 0)
            return bool(ready) and not self._socket.recv(1)
        except (OSError, ValueError):
            return True

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()

    def __del__(self) -> None:
        self.close()

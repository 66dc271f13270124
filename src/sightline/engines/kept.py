"""What an engine makes of a mask, kept for the next call with the same mask and shape.

A model calls attention once per layer with one mask; making its form each time would cost more
than some layers. A store is bounded by bytes and by number, and safe to use from several threads.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, Protocol, TypeVar

# Two masks of 4096 x 4096 bools, or hundreds of the usual kind.
BUDGET_BYTES = 64 * 2**20
# However small they are: a name holds its mask, whose memory is not counted, and decoding makes a
# new form every step.
MOST_HELD = 1024


class Sized(Protocol):
    """Something that knows how much memory it takes."""

    @property
    def nbytes(self) -> int:
        """Its bytes."""
        ...


Held = TypeVar("Held", bound=Sized)


class Store(Generic[Held]):
    """The most recently used values of a bounded total size."""

    def __init__(self, budget: int, most: int = MOST_HELD) -> None:
        self.budget = budget
        self.most = most
        self._kept: OrderedDict[Hashable, Held] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def get(self, name: Hashable, build: Callable[[], Held]) -> Held:
        """Return what is kept under ``name``, built if it is not there."""
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
                return self._kept[name]
        built = build()  # outside the lock: another thread may build the same, which is harmless
        with self._lock:
            if name not in self._kept and built.nbytes <= self.budget:
                self._kept[name] = built
                self._bytes += built.nbytes
            while self._bytes > self.budget or len(self._kept) > self.most:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return built

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

"""What engines keep for the next call: bounded by bytes, safe to use from several threads."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """What knows how much memory it takes."""

    @property
    def nbytes(self) -> int:
        """The memory that it takes."""
        ...


Kept = TypeVar("Kept", bound=Sized)


class Store(Generic[Kept]):
    """The most recently used values of a bounded total size."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def get(self, name: Hashable, build: Callable[[], Kept]) -> Kept:
        """Return what is kept under ``name``, built if it is not there."""
        with self._lock:
            found = self._kept.get(name)
            if found is not None:
                self._kept.move_to_end(name)
                return found
        built = build()  # outside the lock: another thread may build the same, which is harmless
        with self._lock:
            if name not in self._kept and built.nbytes <= self.budget:
                self._kept[name] = built
                self._bytes += built.nbytes
            while self._bytes > self.budget:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return built

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

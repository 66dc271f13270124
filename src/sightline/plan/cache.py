"""Plans that are kept: bounded by their bytes and their number, safe between threads."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from sightline.plan.block_map import BlockMap

# How much all kept plans may hold together.
MOST_BYTES = 64 * 2**20
# And how many there may be: each also holds its mask and small change, which nobody counts, and
# decoding makes a new plan every step.
MOST_PLANS = 1024


class CacheInfo(NamedTuple):
    """What the cache of plans has done since it was last cleared, and what it holds."""

    hits: int
    misses: int
    plans: int
    nbytes: int
    most_bytes: int


class PlanCache:
    """The plans used last; the ones not used for longest go when they get too large together."""

    def __init__(self, most_bytes: int = MOST_BYTES, most_plans: int = MOST_PLANS) -> None:
        self._most_bytes = most_bytes
        self._most_plans = most_plans
        self._lock = Lock()
        self.clear()

    def clear(self) -> None:
        """Forget every plan, and the count of hits and misses."""
        with self._lock:
            self._plans: OrderedDict[Any, tuple[BlockMap, int]] = OrderedDict()
            self._hits = self._misses = self._nbytes = 0

    def get(self, key: Any) -> BlockMap | None:
        """Return the plan kept under ``key``, or None; it becomes the one used last."""
        with self._lock:
            found = self._plans.get(key)
            if found is None:
                self._misses += 1
                return None
            self._hits += 1
            self._plans.move_to_end(key)
            return found[0]

    def put(self, key: Any, plan: BlockMap) -> None:
        """Keep a plan, unless it is larger than all of them may be together."""
        nbytes = plan.nbytes
        if nbytes > self._most_bytes:
            return
        with self._lock:
            if key in self._plans:
                return
            self._plans[key] = plan, nbytes
            self._nbytes += nbytes
            while self._nbytes > self._most_bytes or len(self._plans) > self._most_plans:
                _, (_, gone) = self._plans.popitem(last=False)
                self._nbytes -= gone

    def info(self) -> CacheInfo:
        """Return hits, misses, and how many plans of how many bytes are kept."""
        with self._lock:
            return CacheInfo(
                self._hits, self._misses, len(self._plans), self._nbytes, self._most_bytes
            )

"""How long a layer's attention would take on many devices: arithmetic on shards, no measurement.

A rank takes operations ÷ rate and bytes ÷ bandwidth, and a layer takes as long as its slowest rank.
Beside a plan's shards stands what is usual: stretches from both ends, and all keys to everybody.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sightline.errors import InvalidArgument
from sightline.masks.arguments import as_size
from sightline.plan.cost import cost_of, forward_flops
from sightline.plan.shard import EVEN_COSTS, Assignment, BlockCosts, Shard, contiguous

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.plan.block_map import BlockMap

    Ints = NDArray[np.int64]
    Seconds = NDArray[np.float64]

__all__ = ["Devices", "Layer", "Loads", "Prediction", "head_tail", "key_in_pairs", "predict"]

# Operations of the backward pass ÷ those of the forward pass: five products of matrices to two.
_BACKWARD = 2.5


@dataclass(frozen=True, slots=True)
class Layer:
    """The attention of one layer.

    Attributes:
        batch: batch rows.
        heads: query heads.
        kv_heads: key/value heads.
        head_dim: length of a query, key or value vector.
        dtype_bytes: bytes of one of its numbers.
    """

    batch: int = 1
    heads: int = 32
    kv_heads: int = 8
    head_dim: int = 128
    dtype_bytes: int = 2

    @property
    def key_bytes(self) -> int:
        """Bytes of the keys and values of one position."""
        return 2 * self.kv_heads * self.head_dim * self.dtype_bytes

    def check(self, plan: BlockMap) -> None:
        """Refuse a shape that the mask cannot have.

        Raises:
            ShapeMismatch: other batch rows or heads than the mask tells apart, or key/value heads
                that do not divide the query heads.
            InvalidArgument: a number that is no integer of at least 1.
        """
        cost_of(
            plan,
            batch=self.batch,
            heads=self.heads,
            kv_heads=self.kv_heads,
            head_dim=self.head_dim,
            dtype_bytes=self.dtype_bytes,
        )


@dataclass(frozen=True, slots=True)
class Devices:
    """What a device gets done; the defaults are round figures for an H100 of a cluster.

    Attributes:
        tflops: 10¹² operations a second that attention reaches on the allowed pairs.
        gbytes: 10⁹ bytes a second into a device, and as many out of it at the same time.
    """

    tflops: float = 500.0
    gbytes: float = 50.0

    def __post_init__(self) -> None:
        for name in ("tflops", "gbytes"):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise InvalidArgument(f"got {name}={value}; wanted a number above 0.")


@dataclass(frozen=True, eq=False)
class Loads:
    """What each rank has to do for one layer and one pass, ``[ranks]`` each.

    Attributes:
        pairs: allowed pairs of its queries, over the layer's batch rows and heads.
        received: bytes of keys and values that come in.
        sent: bytes that go out.
    """

    pairs: NDArray[np.float64]
    received: Ints
    sent: Ints

    @classmethod
    def of(cls, cut: Shard, layer: Layer) -> Loads:
        """Return the loads of shards: a rank is sent the keys that it needs, and no others.

        >>> import sightline as sl
        >>> cut = sl.shard(sl.plan(sl.window(left=127, right=0), 1024), 4)
        >>> layer = Layer(heads=2, kv_heads=1, head_dim=64)
        >>> Loads.of(cut, layer).received // layer.key_bytes == cut.received
        array([ True,  True,  True,  True])
        """
        layer.check(cut.plan)
        each = layer.batch // cut.batch * layer.key_bytes
        return cls(_pairs(cut, layer), cut.received * each, cut.sent * each)

    @classmethod
    def all_gather(cls, cut: Shard, layer: Layer) -> Loads:
        """Return the loads of the same rows if every rank is sent all keys, around a ring."""
        layer.check(cut.plan)
        received = (cut.plan.kv_len - cut.keys.lengths) * layer.batch * layer.key_bytes
        return cls(_pairs(cut, layer), received, received)


@dataclass(frozen=True, eq=False)
class Prediction:
    """How long one layer's attention takes, in seconds, ``[ranks]`` each.

    Attributes:
        forward: computing.
        backward: computing.
        travel: sending keys and values out; as long again sending their gradients back.
    """

    forward: Seconds
    backward: Seconds
    travel: Seconds

    def seconds(self, *, overlap: bool) -> tuple[float, float]:
        """Return how long forward and backward take: as long as the slowest rank.

        Args:
            overlap: whether sending goes on beside computing, so that the longer of both counts,
                or before it.
        """
        both = np.maximum if overlap else np.add
        forward, backward = both(self.forward, self.travel), both(self.backward, self.travel)
        return float(forward.max(initial=0.0)), float(backward.max(initial=0.0))

    def efficiency(self, *, overlap: bool) -> float:
        """Return the time of devices that are all busy all the time ÷ this time; 1 is perfect."""
        taken = sum(self.seconds(overlap=overlap))
        busy = float((self.forward + self.backward).mean()) if len(self.forward) else 0.0
        return busy / taken if taken else 1.0


def predict(loads: Loads, layer: Layer, devices: Devices) -> Prediction:
    """Return how long a layer takes: operations ÷ rate, and bytes ÷ bandwidth.

    What a rank receives is kept for the backward pass, which sends the gradients back the same way.
    Latency, and that small shards reach less of a device's rate, are left out.

    >>> import sightline as sl
    >>> cut, layer = sl.shard(sl.plan(sl.causal(), 2**20), 64), Layer()
    >>> there = predict(Loads.of(cut, layer), layer, Devices(tflops=500, gbytes=50))
    >>> 280 < 1e3 * there.seconds(overlap=True)[0] < 285     # milliseconds forward
    True
    """
    forward = loads.pairs * (forward_flops(1, layer.head_dim) / (devices.tflops * 1e12))
    travel = np.maximum(loads.received, loads.sent) / (devices.gbytes * 1e9)
    return Prediction(forward, forward * _BACKWARD, travel)


def key_in_pairs(plan: BlockMap, layer: Layer, devices: Devices) -> float:
    """Return what receiving a key takes, in allowed pairs of a plan: ``shard(communication=)``.

    Forward and backward together: the key and its gradient travel, and so many pairs could be
    computed meanwhile.

    >>> import sightline as sl
    >>> round(key_in_pairs(sl.plan(sl.causal(), 1024), Layer(), Devices(500, 50)))
    1429
    """
    layer.check(plan)
    travel = 2 * layer.key_bytes / (devices.gbytes * 1e9)
    heads = layer.heads // plan.heads
    work = (1 + _BACKWARD) * forward_flops(heads, layer.head_dim) / (devices.tflops * 1e12)
    return travel / work


def head_tail(plan: BlockMap, ranks: int, *, costs: BlockCosts = EVEN_COSTS) -> Shard:
    """Return the shards that are usual for causal masks, whatever the mask.

    The sequence is cut into twice as many stretches as there are ranks; rank r holds the r-th from
    the front and the r-th from the end.

    >>> import sightline as sl
    >>> head_tail(sl.plan(sl.causal(), 1024), 4).queries.owner
    array([[0, 1, 2, 3, 3, 2, 1, 0]], dtype=int32)
    >>> head_tail(sl.plan(sl.documents(lengths=[768, 256]), 1024), 4).balance
    1.2
    """
    ranks = as_size(ranks, "head_tail(ranks=)", error=InvalidArgument)
    queries = _folded(plan.grid.q_edges[0], ranks)
    one = np.array_equal(plan.grid.q_edges, plan.grid.k_edges)
    keys = queries if one else contiguous(plan.grid.k_edges[0], ranks)
    return Shard(plan, queries, keys, costs)


def _folded(edges: Ints, ranks: int) -> Assignment:
    blocks = len(edges) - 1
    half = np.arange(blocks) * (2 * ranks) // max(blocks, 1)
    owner = np.minimum(half, 2 * ranks - 1 - half).astype(np.int32)
    return Assignment(owner[None], edges, ranks)


def _pairs(cut: Shard, layer: Layer) -> NDArray[np.float64]:
    """Return the allowed pairs of each rank, whatever the work was weighted by."""
    plan = cut.plan
    even = cut if cut.costs == EVEN_COSTS else Shard(plan, cut.queries, cut.keys)
    return even.area * ((layer.batch // plan.batch) * (layer.heads // plan.heads))

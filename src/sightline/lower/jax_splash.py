"""Destination ``jax.splash``: mask and segment ids of the splash attention kernel for TPUs.

The kernel takes one mask for each head, as objects that are asked block by block, the same for
every batch row, and segment ids at run time. What it makes of an empty row is not defined.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

from sightline.errors import CannotExpress, InvalidArgument, ShapeMismatch
from sightline.lower.arguments import Asked, check_length, require_module
from sightline.lower.destinations import Destination
from sightline.lower.forms.segments import Ids, ids_of, split_by_ids
from sightline.masks.heads import at_head
from sightline.masks.intervals import ENDLESS
from sightline.masks.mask import Mask
from sightline.masks.nodes import And, Everything, Or, all_of, any_of
from sightline.masks.periodic import Chunks
from sightline.masks.positional import Band, causal
from sightline.masks.text import short

DESTINATION = Destination(
    name="jax.splash",
    gives="the mask of make_splash_mha (a MultiHeadMask of lazy masks where there is a class for "
    "them: causal, windows, chunks, and their & and |) and the segment_ids of the kernel's call",
    expresses="every mask without empty rows in which batch rows differ only by segments: "
    "documents, spans, padding, and whatever else comes down to equal ids",
    refuses="other differences between batch rows; empty rows, which the kernel leaves undefined; "
    "a number of keys that is no multiple of 128",
    in_principle="the same; the kernel needs the same static mask for every batch row",
    options=("num_heads",),
    needs="jax",
    extra="jax",
)

NAME = DESTINATION.name
MASKS = "jax.experimental.pallas.ops.tpu.splash_attention.splash_attention_mask"
KERNEL = "jax.experimental.pallas.ops.tpu.splash_attention.splash_attention_kernel"
# The kernel takes keys in blocks that are multiples of this.
LANES = 128
# More cells than this are not written out.
MOST_CELLS = 2**32


def translate(asked: Asked, num_heads: int | None = None) -> dict[str, Any]:
    """Return ``{"mask": MultiHeadMask, "segment_ids": SegmentIds or None}``.

    ``mask`` goes to ``make_splash_mha(mask=..., head_shards=..., q_seq_shards=...)``,
    ``segment_ids`` to the call of what that returns. Their arrays are [q_len] and [kv_len], or with
    a batch axis before it where batch rows differ: map the kernel over it, as over the inputs
    [batch, heads, length, head_dim]. The kernel does not scale the scores: scale the queries. With
    segment ids, its backward pass wants blocks of queries that are multiples of 128 too.

    Masks that have a class of their own are not written out, however long they are; a part of the
    expression that has none becomes a NumpyMask, which takes q_len * kv_len bytes.

    Args:
        asked: the mask and its shape.
        num_heads: the number of query heads; needed where the mask is the same for all.

    Raises:
        CannotExpress: a row that may see nothing; no queries or no keys; a number of keys that is
            no multiple of 128; batch rows that differ in more than segments.
        InvalidArgument: ``num_heads`` is needed and was not given.
        ShapeMismatch: ``num_heads`` differs from the mask's own.
        MissingExtra: jax is not installed.

    Source: jax.experimental.pallas.ops.tpu.splash_attention, jax 0.10.

    >>> import sightline as sl
    >>> mask = sl.causal() & sl.window(left=99) & sl.documents(lengths=[[100, 28], [60, 68]])
    >>> call = sl.lower(mask, to="jax.splash", q_len=128, num_heads=8)
    >>> type(call["mask"].masks[0]).__name__, call["mask"].shape
    ('LocalMask', (8, 128, 128))
    >>> call["segment_ids"].q.shape
    (2, 128)
    """
    what = f"sl.lower(..., to={NAME!r})"
    library, kernel = (require_module(name, what, extra="jax") for name in (MASKS, KERNEL))
    heads = _head_count(asked.mask, num_heads)
    _refuse_lengths(asked)
    pairs, ids = _by_structure(asked)
    if pairs is None:
        each, ids = _by_cells(library, asked)
    else:
        lazy = _Lazy(library, asked)
        each = [lazy.of(at_head(pairs, head)) for head in range(pairs.heads)]
    asked.refuse_empty_rows(
        NAME,
        reason="the kernel gives the mean of some values for them, or NaN",
        alternative='to="jax.dot_product_attention", which can say it of the last queries; or let '
        "these rows see something, and set their output to 0 with jnp.where",
    )
    mask = library.MultiHeadMask(each if len(each) == heads else each * heads)
    return {"mask": mask, "segment_ids": _segment_ids(kernel, ids)}


def _head_count(mask: Mask, num_heads: int | None) -> int:
    if num_heads is None:
        if mask.heads > 1:
            return mask.heads
        raise InvalidArgument(
            f"got no num_heads for {NAME}; its mask is a list of one mask for each head; pass "
            "num_heads=."
        )
    if check_length("num_heads", num_heads) < 1 or mask.heads not in (1, num_heads):
        raise ShapeMismatch(
            f"got num_heads={num_heads} for {NAME} and a mask with {mask.heads}; wanted equal "
            "sizes, at least 1, or a mask that is the same for all."
        )
    return num_heads


def _refuse_lengths(asked: Asked) -> None:
    asked.refuse_no_pairs(NAME, "the kernel has no blocks then")
    if asked.kv_len % LANES:
        padded = -(-asked.kv_len // LANES) * LANES
        raise CannotExpress(
            destination=NAME,
            part=f"kv_len={asked.kv_len}",
            reason=f"the kernel takes keys in blocks that are multiples of {LANES}",
            alternative=f"pad keys and values to kv_len={padded} and ask for "
            f"mask & sl.prefix({asked.kv_len})",
        )


# -- which part says what ----------------------------------------------------------------------


def _by_structure(asked: Asked) -> tuple[Mask | None, Ids | None]:
    """Split an expression into a mask that is the same for every batch row, and ids.

    Ids are taken from the parts of a conjunction. (None, None) if what is left depends on the batch
    row. Chunks stay beside a causal part where ChunkedCausalMask says both.
    """
    at = (asked.q_len, asked.kv_len, asked.q_offset)
    parts = asked.mask.parts if isinstance(asked.mask, And) else (asked.mask,)
    chunked = asked.q_offset == 0 and any(map(_within_causal, parts))
    found = {
        number: ids_of(part, *at)
        for number, part in enumerate(parts)
        if not (chunked and isinstance(part, Chunks))
    }
    ids = [each for each in found.values() if each is not None]
    rest = all_of(part for number, part in enumerate(parts) if found.get(number) is None)
    if rest.batch > 1:
        return None, None
    return rest, reduce(Ids.meet, ids) if ids else None


def _by_cells(library: Any, asked: Asked) -> tuple[list[Any], Ids]:
    """Split the cells themselves, which finds a split wherever there is one."""
    pairs, ids = split_by_ids(asked.dense)
    beyond = np.argwhere((pairs[None] & ids.same()[:, None]) & ~asked.dense)
    if len(beyond):
        parts = asked.mask.parts if isinstance(asked.mask, And) else (asked.mask,)
        part = next(part for part in parts if part.batch > 1 and ids_of(part, 1, 1, 0) is None)
        batch, head, query, key = (int(index) for index in beyond[0])
        raise CannotExpress(
            destination=NAME,
            part=f"{short(part)}, in which batch rows differ",
            reason="the kernel's mask is the same for every batch row, and segment ids cannot keep "
            f"batch {batch}, head {head}, query {query} from key {key}, which others may see",
            alternative='to="jax.dot_product_attention", or one kernel for each batch row',
        )
    return [library.NumpyMask(each) for each in pairs], ids


def _segment_ids(kernel: Any, ids: Ids | None) -> Any:
    """Return the SegmentIds; None where all are the same, without a batch axis where rows are."""
    if ids is None or all((part == ids.query[:, :1]).all() for part in ids.parts):
        return None
    both = [np.broadcast_to(part, (len(ids), part.shape[1])) for part in ids.parts]
    if all((part == part[:1]).all() for part in both):
        both = [part[0] for part in both]
    from jax import numpy as jnp

    return kernel.SegmentIds(*(jnp.asarray(part, dtype=np.int32) for part in both))


# -- the mask of one head ----------------------------------------------------------------------


def _within_causal(mask: Mask) -> bool:
    """Return whether the mask is a band that shows no key after the query."""
    return isinstance(mask, Band) and (mask.ends()[1] or 0) <= 0 and mask.ends()[1] is not None


class _Lazy:
    """Makes the library's mask objects for expressions at one shape."""

    def __init__(self, library: Any, asked: Asked) -> None:
        self.library, self.asked = library, asked
        self.shape, self.offset = (asked.q_len, asked.kv_len), asked.q_offset

    def of(self, mask: Mask) -> Any:
        """Return the mask object of an expression that is the same for batch rows and heads."""
        if isinstance(mask, Everything):
            return self.library.FullMask(self.shape)
        if isinstance(mask, Band):
            return reduce(self.library.LogicalOr, map(self._interval, mask.gaps.array.tolist()))
        if isinstance(mask, And):
            return self._conjunction(list(mask.parts))
        if isinstance(mask, Or):
            return self._joined([], mask.parts, self.library.LogicalOr, any_of)
        return self._numpy(mask)

    def _interval(self, gaps: list[int]) -> Any:
        """Return the mask of start <= k - q < stop; row i of the kernel is the query i + offset.

        CausalMask says i + offset >= k, LocalMask i + offset - left <= k <= i + offset + right.
        """
        start, stop = gaps
        right = None if stop == ENDLESS else stop - 1
        if start == -ENDLESS and right is not None:
            return self.library.CausalMask(self.shape, offset=self.offset + right)
        return self.library.LocalMask(self.shape, window_size=(-start, right), offset=self.offset)

    def _conjunction(self, parts: list[Mask]) -> Any:
        """``chunks & causal`` at offset 0 is ChunkedCausalMask: same chunk, and i >= k."""
        chunks = [part for part in parts if isinstance(part, Chunks)]
        made: list[Any] = []
        if chunks and self.offset == 0 and any(map(_within_causal, parts)):
            made = [self.library.ChunkedCausalMask(self.shape, part.size) for part in chunks]
            parts = [part for part in parts if part not in (*chunks, causal())]
        return self._joined(made, parts, self.library.LogicalAnd, all_of)

    def _joined(self, made: list[Any], parts: Sequence[Mask], connective: Any, join: Any) -> Any:
        """Return the parts joined; those without a class of their own become one array."""
        lazy = [part for part in parts if isinstance(part, (Band, And, Or))]
        others = [part for part in parts if part not in lazy]
        made = [*made, *map(self.of, lazy)]
        if others:
            made.append(self._numpy(join(others)))
        return reduce(connective, made)

    def _numpy(self, mask: Mask) -> Any:
        q_len, kv_len = self.shape
        if q_len * kv_len > MOST_CELLS:
            raise CannotExpress(
                destination=NAME,
                part=short(mask),
                reason=f"splash has no lazy class for it, and its cells at this shape are "
                f"{q_len * kv_len} bytes",
                alternative="causal, windows, chunks, documents and padding, which have one, or "
                'to="torch.flex"',
            )
        return self.library.NumpyMask(mask.dense(q_len, kv_len, self.offset)[0, 0])

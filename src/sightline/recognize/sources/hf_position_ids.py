"""Source ``hf.position_ids``: sequences packed into a row, told apart by their positions.

A transformers model takes each place where positions do not go up by one as a new sequence, if it
is given no attention_mask and no cache.
"""

from __future__ import annotations

import numpy as np

from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.recognize.sources.hf_2d import own_mask
from sightline.recognize.sources.reading import (
    Read,
    Source,
    integers,
    keywords,
    refuse_many_pairs,
)

SOURCE = Source(
    name="hf.position_ids",
    reads="position_ids [batch, S], or a dict with it",
    true_means="there is no mask; a position that is not the one before plus 1 begins a sequence",
    options=("own",),
)


def read(given: object, own: object = None) -> Read:
    """Read position_ids; ``own`` is the model's own mask over positions, causal() if left out.

    >>> read([[0, 1, 0]]).allowed[0, 0].astype(int)
    array([[1, 0, 0],
           [1, 1, 0],
           [0, 0, 1]])
    """
    call = keywords(given, SOURCE.name, ("position_ids", "attention_mask"))
    if call.get("attention_mask") is not None:
        raise InvalidArgument(
            f"got an attention_mask beside position_ids for {SOURCE.name}; with one the model does "
            'not tell packed sequences apart; leave it out, or read it with source="hf.2d".'
        )
    if call.get("position_ids") is None:
        raise InvalidArgument(f"got no position_ids for {SOURCE.name}; wanted [batch, S].")
    positions = integers(call["position_ids"], "position_ids", (2,))
    if positions.min() < 0:
        raise InvalidArgument(
            f"got position_ids down to {positions.min()}; wanted positions of at least 0."
        )
    model = own_mask(own, SOURCE.name)
    batch, length = positions.shape
    if model.batch not in (1, batch):
        raise ShapeMismatch(
            f"got own= of {model.batch} batch rows and position_ids of {batch}; wanted equal "
            "sizes, or a mask that is the same for all."
        )
    refuse_many_pairs(batch, model.heads, length, length)
    allowed = np.zeros((batch, model.heads, length, length), dtype=np.bool_)
    count = 0
    for row, own_positions in enumerate(positions):
        starts = np.flatnonzero(np.diff(own_positions, prepend=own_positions[0] - 2) != 1)
        stops = np.append(starts[1:], length)
        count += len(starts)
        for start, stop in zip(starts, stops, strict=True):
            first, size = int(own_positions[start]), int(stop - start)
            seen = model.dense(size, size, first, first)
            allowed[row, :, start:stop, start:stop] = seen[row if len(seen) > 1 else 0]
    evidence = (
        f"{count} sequences in {batch} rows: a new one begins where a position is not the one "
        f"before plus 1; inside each the model's own mask, {model!r}, holds",
    )
    return Read(allowed, evidence, 0, _warned(count, batch))


def _warned(count: int, batch: int) -> tuple[str, ...]:
    if count == batch:
        return ("every row is one sequence: nothing is packed here",)
    return ()

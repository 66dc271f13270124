"""The three masks of an encoder-decoder for two batches: padded on either side, or packed.

Which tokens see which is all that is said here; the model is transformer.py's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sightline.errors import ShapeMismatch
from sightline.masks.key_intervals import intervals
from sightline.masks.mask import Mask
from sightline.masks.positional import causal
from sightline.nn.batch import Batch

__all__ = ["memory_mask", "seq2seq_masks"]


def seq2seq_masks(source: Batch, target: Batch) -> dict[str, Any]:
    """Return the masks and positions that ``Transformer`` is called with for two batches.

    Sequence i of the source belongs to sequence i of the target. Both batches are packed, or
    neither is.

    Args:
        source: what is read.
        target: what is written.

    Returns:
        ``source_mask``, ``target_mask``, ``memory_mask``, ``source_positions`` and
        ``target_positions``.

    Raises:
        ShapeMismatch: other numbers of sequences, or only one of the two is packed.

    >>> import sightline as sl
    >>> source, target = sl.Batch.from_lengths([2, 1]), sl.Batch.from_lengths([1, 2])
    >>> masks = seq2seq_masks(source, target)
    >>> masks["source_mask"], masks["target_mask"] == sl.causal() & sl.padding(lengths=[1, 2])
    (padding(lengths=[2, 1]), True)
    >>> masks["memory_mask"]
    padding(lengths=[2, 1])
    """
    return {
        "source_mask": source.mask,
        # causal() looks at distances only, so that it is the same wherever a sequence stands.
        "target_mask": target.mask & causal(),
        "memory_mask": memory_mask(source, target),
        "source_positions": source.positions,
        "target_positions": target.positions,
    }


def memory_mask(source: Batch, target: Batch) -> Mask:
    """Return who of the target sees whom of the source: every token its own sequence, no padding.

    Raises:
        ShapeMismatch: other numbers of sequences, or only one of the two is packed.

    >>> import sightline as sl
    >>> source, target = sl.Batch.from_lengths([2, 1]), sl.Batch.from_lengths([1, 2])
    >>> memory_mask(source.packed(), target.packed()).dense(3, 3)[0, 0].astype(int)
    array([[1, 1, 0],
           [0, 0, 1],
           [0, 0, 1]])
    """
    if len(source) != len(target) or source.rows != target.rows:
        raise ShapeMismatch(
            f"got {source!r} and {target!r}; wanted as many sequences in both, both packed or "
            "neither; make them from the same pairs, and call packed() on both."
        )
    if source.side != "packed":
        return source.mask
    if target.side != "packed":  # one sequence, of which packing makes no difference
        return source.mask
    stops = np.cumsum(source.lengths)
    starts = stops - source.lengths
    return intervals(np.repeat(starts, target.lengths), np.repeat(stops, target.lengths))

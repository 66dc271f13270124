"""The table of masks: every public constructor under its name. The parser and the docs read it."""

from __future__ import annotations

from collections.abc import Callable

from sightline.masks import (
    block_sparse,
    data,
    explicit,
    grid,
    key_intervals,
    opaque,
    orders,
    padding,
    periodic,
    positional,
    sparse,
)
from sightline.masks.mask import Mask

NAMES: dict[str, Callable[..., Mask]] = {
    "everything": positional.everything,
    "nothing": positional.nothing,
    "causal": positional.causal,
    "window": positional.window,
    "prefix": positional.prefix,
    "sinks": positional.sinks,
    "keys": positional.keys,
    "queries": positional.queries,
    "chunks": periodic.chunks,
    "block_causal": periodic.block_causal,
    "dilated": periodic.dilated,
    "strided": sparse.strided,
    "fixed": sparse.fixed,
    "log_sparse": sparse.log_sparse,
    "log_sparse_row_mask": sparse.log_sparse_row_mask,
    "random_blocks": block_sparse.random_blocks,
    "block_diffusion": block_sparse.block_diffusion,
    "shifted_window": grid.shifted_window,
    "neighborhood": grid.neighborhood,
    "axial": grid.axial,
    "padding": padding.padding,
    "documents": data.documents,
    "spans": data.spans,
    "prefix_lm": data.prefix_lm,
    "seq2seq": data.seq2seq,
    "permutation": orders.permutation,
    "tree": orders.tree,
    "per_batch": explicit.per_batch,
    "per_head": explicit.per_head,
    "dense": explicit.dense,
    "intervals": key_intervals.intervals,
    "predicate": opaque.predicate,
}

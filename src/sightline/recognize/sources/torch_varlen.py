"""Source ``torch.varlen``: keywords of ``torch.nn.attention.varlen.varlen_attn``."""

from __future__ import annotations

from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.recognize.sources.packed import (
    call_and_places,
    laid_out,
    offsets,
    read_packed,
    window,
)
from sightline.recognize.sources.reading import Read, Source, flag, integers, keywords

SOURCE = Source(
    name="torch.varlen",
    reads="a dict of cu_seq_q, cu_seq_k and window_size, seqused_k, or what lower gives",
    true_means="there is no mask; offsets say where sequences begin",
)
_IGNORED = ("max_q", "max_k", "scale", "enable_gqa", "return_aux", "num_splits")


def read(given: object) -> Read:
    """Read offsets; ``cu_seq_k`` left out means as ``cu_seq_q``.

    >>> call = {"cu_seq_q": [0, 2, 3], "window_size": (-1, 0)}
    >>> read(call).allowed[0, 0].astype(int)
    array([[1, 0, 0],
           [1, 1, 0],
           [0, 0, 1]])
    """
    known = (
        "cu_seq_q",
        "cu_seq_k",
        "window_size",
        "is_causal",
        "seqused_k",
        "block_table",
        *_IGNORED,
    )
    said, places = call_and_places(given)
    call = keywords(said, SOURCE.name, known)
    if call.get("block_table") is not None:
        raise InvalidArgument(
            f"got block_table for {SOURCE.name}; wanted keys that stand in one row; pages change "
            "where a key is kept, not who sees it: give cu_seq_k of the sequences."
        )
    if call.get("cu_seq_q") is None:
        raise InvalidArgument(f"got no cu_seq_q for {SOURCE.name}; wanted the queries' offsets.")
    queries = offsets(call["cu_seq_q"], "cu_seq_q")
    keys = queries if call.get("cu_seq_k") is None else offsets(call["cu_seq_k"], "cu_seq_k")
    used = None
    if call.get("seqused_k") is not None:
        used = integers(call["seqused_k"], "seqused_k", (1,))
        room = keys[1:] - keys[:-1]
        if used.shape != room.shape or (used < 0).any() or (used > room).any():
            raise ShapeMismatch(
                f"got seqused_k={used.tolist()[:12]} for sequences of {room.tolist()[:12]} keys; "
                "wanted one number for each, at most its length."
            )
    left, right = window(call.get("window_size"))
    if flag(call, "is_causal"):
        right = 0
    return laid_out(read_packed(queries, keys, (left, right), used), places)

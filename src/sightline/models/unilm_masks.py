"""UniLM's four masks: what makes one network an encoder, a reader from either side, a translator.

Over the positions of one sequence each mask is a word of the library; over a batch, where each
sequence may have a mode of its own, ``unilm_mask`` lays them out. The network is unilm.py's part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch

from sightline.errors import InvalidArgument
from sightline.masks.data import seq2seq
from sightline.masks.mask import Mask
from sightline.masks.padding import padding
from sightline.masks.positional import causal, everything, nothing
from sightline.nn.batch import Batch

__all__ = [
    "MODES",
    "Mode",
    "bidirectional",
    "left_to_right",
    "right_to_left",
    "segment_ids",
    "sequence_to_sequence",
    "unilm_mask",
]

Mode = Literal["bidirectional", "left_to_right", "right_to_left", "seq2seq"]
MODES: tuple[Mode, ...] = get_args(Mode)

# (of the first part, of the second part) of a sequence; read in one direction there is one part.
SEGMENTS: dict[Mode, tuple[int, int]] = {
    "bidirectional": (0, 1),
    "left_to_right": (2, 2),
    "right_to_left": (3, 3),
    "seq2seq": (4, 5),
}


def bidirectional() -> Mask:
    """Every token sees every token: BERT's mask.

    >>> bidirectional().dense(3)[0, 0].astype(int)
    array([[1, 1, 1],
           [1, 1, 1],
           [1, 1, 1]])
    """
    return everything()


def left_to_right() -> Mask:
    """A token sees itself and what stands before it.

    >>> left_to_right().dense(3)[0, 0].astype(int)
    array([[1, 0, 0],
           [1, 1, 0],
           [1, 1, 1]])
    """
    return causal()


def right_to_left() -> Mask:
    """A token sees itself and what stands behind it.

    >>> right_to_left().dense(3)[0, 0].astype(int)
    array([[1, 1, 1],
           [0, 1, 1],
           [0, 0, 1]])
    """
    return causal().T


def sequence_to_sequence(source_lengths: object) -> Mask:
    """All see the source; a target token sees the target up to itself too.

    Args:
        source_lengths: tokens of each row's source, its special tokens included.

    >>> sequence_to_sequence([2]).dense(4)[0, 0].astype(int)
    array([[1, 1, 0, 0],
           [1, 1, 0, 0],
           [1, 1, 1, 0],
           [1, 1, 1, 1]])
    """
    return seq2seq(source_lengths)


def unilm_mask(
    batch: Batch, modes: Mode | Sequence[Mode], source_lengths: Sequence[int] | None = None
) -> Mask:
    """Return who sees whom in a batch, padded on either side or packed.

    A token of no mode sees another sequence or padding, and padding sees nothing.

    Args:
        batch: the sequences.
        modes: one of ``MODES`` for all sequences, or one for each.
        source_lengths: how many tokens of each sequence are its first part; asked for where a
            mode is "seq2seq".

    Raises:
        InvalidArgument: an unknown mode, or numbers that do not fit the batch.

    Source: Dong et al. 2019, "Unified Language Model Pre-training for Natural Language
    Understanding and Generation", section 2.3 and figure 1.

    >>> import sightline as sl
    >>> batch = sl.Batch.from_lengths([3, 2]).packed()
    >>> unilm_mask(batch, ["seq2seq", "right_to_left"], [2, 0]).dense(5)[0, 0].astype(int)
    array([[1, 1, 0, 0, 0],
           [1, 1, 0, 0, 0],
           [1, 1, 1, 0, 0],
           [0, 0, 0, 1, 1],
           [0, 0, 0, 0, 1]])
    """
    each = _modes(batch, modes)
    sources = _sources(batch, source_lengths, "seq2seq" in each)
    # Inside a sequence the mode is the key's as much as the query's, so keys alone can say it.
    seen = [_Seen(mode, own, length) for mode, own, length in _zip(each, sources, batch)]
    by_all = _where(batch, [one.by_all for one in seen])
    from_behind = causal() & _where(batch, [one.from_behind for one in seen])
    from_before = causal().T & _where(batch, [one.from_before for one in seen])
    return batch.mask & batch.mask.T & (by_all | from_behind | from_before)


def segment_ids(
    batch: Batch, modes: Mode | Sequence[Mode], source_lengths: Sequence[int] | None = None
) -> torch.Tensor:
    """Return the segment of each token, int64 [rows, length]; 0 at padding.

    By it the network knows in which mode it reads: 0 and 1 for the two parts of a bidirectional
    sequence, 2 left to right, 3 right to left, 4 and 5 for source and target.

    Args:
        batch: the sequences.
        modes: one of ``MODES`` for all sequences, or one for each.
        source_lengths: how many tokens of each sequence are its first part; None for all of them
            (which no mode "seq2seq" may have).

    Raises:
        InvalidArgument: an unknown mode, or numbers that do not fit the batch.

    >>> import sightline as sl
    >>> batch = sl.Batch.from_lengths([3, 2])
    >>> segment_ids(batch, ["seq2seq", "left_to_right"], [2, 2]).tolist()
    [[4, 4, 5], [2, 2, 0]]
    """
    each = _modes(batch, modes)
    sources = _sources(batch, source_lengths, "seq2seq" in each)
    rows: list[int] = []
    for mode, own, length in _zip(each, sources, batch):
        first, second = SEGMENTS[mode]
        rows += [first] * own + [second] * (length - own)
    return batch.scatter(torch.tensor(rows, dtype=torch.int64))


class _Seen:
    """For each token of one sequence: by whom inside the sequence it is seen."""

    def __init__(self, mode: Mode, source: int, length: int) -> None:
        one_by_one = {"bidirectional": length, "seq2seq": source}.get(mode, 0)
        self.by_all = [True] * one_by_one + [False] * (length - one_by_one)
        self.from_behind = [mode in ("left_to_right", "seq2seq")] * length
        self.from_before = [mode == "right_to_left"] * length


def _where(batch: Batch, flags: list[list[bool]]) -> Mask:
    """Return the mask of the keys that are flagged, laid out like the batch."""
    flat = torch.tensor([flag for own in flags for flag in own], dtype=torch.bool)
    if not flat.any():
        return nothing()
    return everything() if flat.all() else padding(valid=batch.scatter(flat).numpy())


def _zip(modes: Sequence[Mode], sources: Sequence[int], batch: Batch) -> zip[tuple[Mode, int, int]]:
    return zip(modes, sources, batch.lengths, strict=True)


def _modes(batch: Batch, modes: Mode | Sequence[Mode]) -> list[Mode]:
    each: list[Mode] = [modes] * len(batch) if isinstance(modes, str) else list(modes)
    unknown = [mode for mode in each if mode not in MODES]
    if unknown:
        raise InvalidArgument(f"got the mode {unknown[0]!r}; wanted one of {', '.join(MODES)}.")
    if len(each) != len(batch):
        raise InvalidArgument(
            f"got {len(each)} modes for {len(batch)} sequences; wanted one for each, or one word."
        )
    return each


def _sources(batch: Batch, lengths: Sequence[int] | None, needed: bool) -> Sequence[int]:
    if lengths is None:
        if needed:
            raise InvalidArgument(
                "got the mode 'seq2seq' without source_lengths; wanted how many tokens of each "
                "sequence are its source, special tokens included."
            )
        return batch.lengths
    if len(lengths) != len(batch):
        raise InvalidArgument(
            f"got {len(lengths)} source lengths for {len(batch)} sequences; wanted one for each."
        )
    for row, (source, length) in enumerate(zip(lengths, batch.lengths, strict=True)):
        if not 0 <= source <= length:
            raise InvalidArgument(
                f"got a source of {source} tokens in sequence {row} of {length}; wanted 0 to "
                f"{length}: the source is the sequence's first part."
            )
    return lengths

"""Documents of a text put into sequences of one length: tokens, labels, positions and lengths.

Nothing here knows of models or processes. The mask of a packed sequence is
``causal() & documents(lengths=...)``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sightline.errors import InvalidArgument
from sightline.masks.data import documents
from sightline.masks.mask import Mask
from sightline.masks.positional import causal

__all__ = ["IGNORED", "Packed", "first_fit", "pack", "speeches"]

Ints = NDArray[np.int64]

# The label of a token after which nothing is asked, as of torch's cross_entropy.
IGNORED = -100


def speeches(text: str) -> list[str]:
    r"""Return the documents of a text: what stands between blank lines, those behind it included.

    Joined, they are the text again.

    >>> speeches("All:\nNo.\n\nFirst Citizen:\nYes.\n")
    ['All:\nNo.\n\n', 'First Citizen:\nYes.\n']
    """
    return re.findall(r".+?(?:\n{2,}|\Z)", text, flags=re.DOTALL)


def first_fit(lengths: Sequence[int], context: int) -> list[list[int]]:
    """Return which documents go into which sequence: each into the first that has room for it.

    Raises:
        InvalidArgument: a document that is longer than a sequence.

    >>> first_fit([5, 4, 3, 2, 1], context=8)
    [[0, 2], [1, 3, 4]]
    """
    if lengths and max(lengths) > context:
        raise InvalidArgument(
            f"got a document of {max(lengths)} tokens; wanted at most {context}, the length of a "
            "sequence; cut it first, or take a greater context."
        )
    room = np.full(len(lengths), context)  # a sequence each is more than enough
    rows: list[list[int]] = []
    for document, length in enumerate(lengths):
        row = int(np.argmax(room >= length))
        if row == len(rows):
            rows.append([])
        room[row] -= length
        rows[row].append(document)
    return rows


@dataclass(frozen=True, eq=False)
class Packed:
    """Sequences that hold several documents each, end to end; what is left over is empty.

    Attributes:
        tokens: int64 [sequences, context]; 0 where there is no document.
        labels: the next token of the same document; ``IGNORED`` behind its last one.
        positions: where a token stands in its document, from 0; 0 where there is none.
        lengths: the lengths of each sequence's documents, in order.
    """

    tokens: Ints
    labels: Ints
    positions: Ints
    lengths: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def documents(self) -> int:
        """How many there are; parts of one that was cut count on their own."""
        return sum(map(len, self.lengths))

    @cached_property
    def asked(self) -> int:
        """How many tokens have a label."""
        return int((self.labels != IGNORED).sum())

    @property
    def filled(self) -> float:
        """The share of places that hold a token."""
        return sum(map(sum, self.lengths)) / max(1, self.tokens.size)

    def mask(self, rows: Sequence[int]) -> Mask:
        """Return who may see whom in some of the sequences: its own document, up to itself."""
        return causal() & documents(lengths=[list(self.lengths[row]) for row in rows])


def pack(texts: Sequence[Ints], context: int) -> Packed:
    """Return documents packed into sequences, first fit in the order given.

    A document longer than ``context`` is cut into parts, each a document of its own; one of a
    single token, of which nothing could be asked, is left out.

    >>> packed = pack([np.array([7, 8, 9]), np.array([5]), np.array([3, 4])], context=6)
    >>> packed.tokens.tolist(), packed.positions.tolist(), packed.lengths
    ([[7, 8, 9, 3, 4, 0]], [[0, 1, 2, 0, 1, 0]], ((3, 2),))
    >>> packed.labels.tolist()
    [[8, 9, -100, 4, -100, -100]]
    """
    parts = [part for text in texts for part in _parts(text, context) if len(part) > 1]
    rows = first_fit([len(part) for part in parts], context)
    tokens = np.zeros((len(rows), context), dtype=np.int64)
    labels, positions = np.full_like(tokens, IGNORED), np.zeros_like(tokens)
    for row, chosen in enumerate(rows):
        stop = 0
        for part in (parts[document] for document in chosen):
            start, stop = stop, stop + len(part)
            tokens[row, start:stop] = part
            labels[row, start : stop - 1] = part[1:]
            positions[row, start:stop] = np.arange(len(part))
    lengths = tuple(tuple(len(parts[document]) for document in row) for row in rows)
    return Packed(tokens, labels, positions, lengths)


def _parts(text: Ints, context: int) -> list[Ints]:
    return [text[start : start + context] for start in range(0, len(text), context)]

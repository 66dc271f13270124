"""The least value in any stretch of a row, for many stretches at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

# Entries of the table of stretches of whole buckets: 32 MiB at most.
MOST_ENTRIES = 2**22


class RangeLeast:
    """Answers "what is the least of ``table[row, first .. last]``", both ends included.

    Rows are cut into buckets. A stretch that meets more than one of them is answered exactly: by
    the end of its first bucket, the start of its last and a table over the whole ones between.
    Within one bucket the answer is that of the whole bucket, so that it may be too small; buckets
    are single positions unless the table is large.
    """

    def __init__(self, table: NDArray[np.integer], most_entries: int = MOST_ENTRIES) -> None:
        rows, columns = table.shape
        levels = columns.bit_length()
        self.bucket = 1
        while rows * -(-columns // self.bucket) * levels > most_entries and self.bucket < columns:
            self.bucket *= 2
        short = -columns % self.bucket
        padded = np.pad(table.astype(np.int64), ((0, 0), (0, short)), mode="edge")
        buckets = padded.reshape(rows, -1, self.bucket)
        # The least from a position to the end of its bucket, and from its start to there.
        onward = np.minimum.accumulate(buckets[..., ::-1], axis=-1)[..., ::-1]
        self.onward = onward.reshape(rows, -1)
        self.until = np.minimum.accumulate(buckets, axis=-1).reshape(rows, -1)
        self.levels = [buckets.min(axis=-1)]
        while 2 ** len(self.levels) <= self.levels[0].shape[1]:
            last, step = self.levels[-1], 2 ** (len(self.levels) - 1)
            self.levels.append(np.minimum(last[:, :-step], last[:, step:]))

    def __call__(self, row: Ints, first: Ints, last: Ints) -> Ints:
        """Return the least of each stretch; ``row`` is 0 where one row serves all."""
        row = row if len(self.onward) > 1 else np.zeros_like(first)
        left, right = first // self.bucket, last // self.bucket
        least = np.minimum(self.onward[row, first], self.until[row, last])
        least = np.where(left == right, self.levels[0][row, left], least)
        inner = right - left - 1
        level = np.frexp(np.maximum(inner, 1).astype(np.float64))[1] - 1
        for k in np.unique(level[inner > 0]).tolist():
            here = (level == k) & (inner > 0)
            table = self.levels[k]
            some = np.minimum(
                table[row[here], left[here] + 1], table[row[here], right[here] - 2**k]
            )
            least[here] = np.minimum(least[here], some)
        return least

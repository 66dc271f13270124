"""Click lists: `user item` a line, two whole numbers from 1, each user's lines in time order.

The form of kang205/SASRec's data. How the clicks are split for training is the recipe's matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sightline.errors import DataError
from sightline.readers.lines import read_lines

__all__ = ["Clicks", "read_clicks"]

_WANTED = "wanted 'user item': two whole numbers from 1, with a space between"
_LARGEST = 2**63 - 1


@dataclass(frozen=True, eq=False)
class Clicks:
    r"""Who clicked what, in time order.

    Attributes:
        sequences: for each user the items clicked, int64, numbered from 1 without gaps.
        users: for each user the number in the file, in growing order.
        items: the numbers in the file: item ``n`` is ``items[n - 1]`` there.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "clicks.txt"
    >>> _ = path.write_text("7 30\n2 50\n7 50\n")
    >>> clicks = read_clicks(path)
    >>> clicks.users.tolist(), [each.tolist() for each in clicks.sequences], clicks.items.tolist()
    ([2, 7], [[2], [1, 2]], [30, 50])
    """

    sequences: list[NDArray[np.int64]]
    users: NDArray[np.int64]
    items: NDArray[np.int64]

    @property
    def vocab(self) -> int:
        """How many numbers the items take, with 0 for padding."""
        return len(self.items) + 1


def read_clicks(path: Path) -> Clicks:
    """Read a file of clicks, plain or gzipped. Lines of different users may stand mixed.

    Raises:
        DataError: a line of another form (with its number), no line at all, or bytes that are no
            text.
    """
    pairs = [_pair(path, number, line) for number, line in read_lines(path)]
    if not pairs:
        raise DataError(f"got an empty file; {_WANTED}.", path=str(path))
    table = np.array(pairs, dtype=np.int64)
    users, user_of_click = np.unique(table[:, 0], return_inverse=True)
    items, item_of_click = np.unique(table[:, 1], return_inverse=True)
    order = np.argsort(user_of_click, kind="stable")  # within a user, time order stays
    stops = np.cumsum(np.bincount(user_of_click))[:-1]
    return Clicks(np.split(item_of_click[order].astype(np.int64) + 1, stops), users, items)


def _pair(path: Path, number: int, line: str) -> tuple[int, int]:
    words = line.split()
    if len(words) != 2:
        got = f"{len(words)} columns" if words else "an empty line"
        raise DataError(f"got {got}; {_WANTED}.", path=str(path), line=number)
    user, item = (_number(path, number, word) for word in words)
    return user, item


def _number(path: Path, number: int, word: str) -> int:
    # int() also takes signs, underscores and digits of other scripts.
    if not (word.isascii() and word.isdigit()) or not 1 <= int(word[:20]) <= _LARGEST:
        shown = word if len(word) <= 40 else word[:37] + "..."
        raise DataError(f"got {shown!r}; {_WANTED}.", path=str(path), line=number)
    return int(word)

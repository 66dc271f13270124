"""Which clicks are learned from and which are held out, and items that a user has not clicked.

The last click of each user is for testing, the last but one for validation. numpy only; what is
made of it stands in task.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sightline.errors import DataError
from sightline.readers.clicks import Clicks
from sightline.recipes.training.seeds import generator

__all__ = ["Clicked", "Questions", "Split"]

Part = Literal["validation", "test"]

LEAST = 3  # users with fewer clicks are learned from, not tested


class Clicked:
    """Which user has which items, to be asked for many pairs at once.

    >>> clicked = Clicked([np.array([1, 3]), np.array([2])], vocab=5)
    >>> clicked.has(np.array([0, 0, 1]), np.array([3, 2, 2])).tolist()
    [True, False, True]
    """

    def __init__(self, sequences: Sequence[NDArray[np.int64]], vocab: int) -> None:
        self.vocab = vocab
        users = np.repeat(np.arange(len(sequences)), [len(each) for each in sequences])
        self._codes = np.unique(users * vocab + np.concatenate(sequences))

    def has(self, users: NDArray[np.int64], items: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return for each pair whether the user has the item."""
        codes = users * self.vocab + items
        place = np.searchsorted(self._codes, codes)
        return self._codes[np.minimum(place, len(self._codes) - 1)] == codes

    def draw_others(
        self, users: NDArray[np.int64], random: np.random.Generator
    ) -> NDArray[np.int64]:
        """Return for each entry of ``users`` one item that this user has not, all equally likely.

        There must be one; ``Split`` sees to it.
        """
        drawn = random.integers(1, self.vocab, users.shape)
        again = self.has(users, drawn)
        while again.any():
            drawn[again] = random.integers(1, self.vocab, int(again.sum()))
            again[again] = self.has(users[again], drawn[again])
        return drawn


@dataclass(frozen=True, eq=False)
class Questions:
    """What is asked in an evaluation: which of these candidates did the user click next?

    Attributes:
        users: their places in the corpus, int64 [n].
        histories: what each clicked before.
        candidates: int64 [n, 1 + negatives]; the first is what was clicked.
    """

    users: NDArray[np.int64]
    histories: list[NDArray[np.int64]]
    candidates: NDArray[np.int64]


class Split:
    """The clicks of a corpus, parted by user and time.

    Args:
        clicks: the corpus.
        path: where it comes from, for errors.

    Raises:
        DataError: nobody with three clicks, or a user who has all items.

    >>> clicks = Clicks([np.array([3, 1, 2, 4]), np.array([1, 2])], np.array([1, 2]), np.arange(9))
    >>> split = Split(clicks, "clicks.txt")
    >>> [each.tolist() for each in split.training]
    [[3, 1], [1, 2]]
    >>> asked = split.questions("test", negatives=2)
    >>> asked.users.tolist(), asked.histories[0].tolist(), asked.candidates[0, 0].item()
    ([0], [3, 1, 2], 4)
    """

    def __init__(self, clicks: Clicks, path: str) -> None:
        self.clicks = clicks
        self.vocab = clicks.vocab
        self._whole = clicks.sequences
        self.tested = np.flatnonzero([len(each) >= LEAST for each in self._whole])
        self._check(path)
        tested = set(self.tested.tolist())
        self.training = [
            each[:-2] if user in tested else each for user, each in enumerate(self._whole)
        ]
        # A click to start from and one to predict.
        self.learned = np.flatnonzero([len(each) >= 2 for each in self.training])

    def _check(self, path: str) -> None:
        if not len(self.tested):
            raise DataError(
                f"got no user with {LEAST} clicks or more; wanted some, to be tested with their "
                "last click.",
                path=path,
            )
        most = max(range(len(self._whole)), key=lambda user: len(set(self._whole[user].tolist())))
        if len(np.unique(self._whole[most])) == len(self.clicks.items):
            raise DataError(
                f"got the user {self.clicks.users[most]} who clicked all {len(self.clicks.items)} "
                "items; wanted items left over, since others are set beside what was clicked.",
                path=path,
            )

    @cached_property
    def clicked(self) -> Clicked:
        """All items of each user."""
        return Clicked(self._whole, self.vocab)

    @cached_property
    def clicked_in_training(self) -> Clicked:
        """The items of each user that are learned from."""
        return Clicked(self.training, self.vocab)

    @cached_property
    def popularity(self) -> NDArray[np.int64]:
        """How often each item is clicked in training, [vocab]."""
        return np.bincount(np.concatenate(self.training), minlength=self.vocab)

    def questions(self, part: Part, *, negatives: int, most: int | None = None) -> Questions:
        """Return the questions of a part; the same in every run, whatever its seed.

        Args:
            part: "validation" asks for the last click but one, "test" for the last.
            negatives: how many items, not clicked by the user, stand beside the right one.
            most: how many users to ask about at most, drawn at random; None for all.
        """
        users = self.tested
        if most is not None and most < len(users):
            chosen = generator(0, part, "users").choice(len(users), most, replace=False)
            users = users[np.sort(chosen)]
        at = -1 if part == "test" else -2
        others = self.clicked.draw_others(
            np.repeat(users[:, None], negatives, axis=1), generator(0, part, "negatives")
        )
        right = np.array([self._whole[user][at] for user in users])
        histories = [self._whole[user][:at] for user in users]
        return Questions(users, histories, np.concatenate([right[:, None], others], axis=1))

"""What XLNet is asked: which tokens to predict, in which order, and the masks that follow from it.

Numbers and masks only; batches and losses are made in xlnet.py.

Three kinds of tokens take part. *Targets* are predicted. *Functional* tokens ([SEP], [CLS]) are
not, but stand in the order as targets do. All others are *given*: everyone sees them, and they see
only each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline.errors import InvalidArgument
from sightline.masks.mask import Mask
from sightline.masks.orders import permutation
from sightline.masks.padding import padding

__all__ = ["Factorization", "count_targets", "draw_factorization", "draw_targets"]

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Factorization:
    """Targets of a batch and the order that they are predicted in.

    Attributes:
        ranks: [batch, length] each token's turn: -1 for given tokens; those of the others differ
            within a row.
        targets: [batch, length] which tokens are predicted.

    >>> import sightline as sl
    >>> import numpy as np
    >>> order = Factorization(np.array([[2, -1, 0]]), np.array([[True, False, True]]))
    >>> order.content_mask.dense(3)[0, 0].astype(int)
    array([[1, 1, 1],
           [0, 1, 0],
           [0, 1, 1]])
    >>> order.query_mask.dense(3)[0, 0, [0, 2]].astype(int)
    array([[0, 1, 1],
           [0, 1, 0]])
    """

    ranks: Ints
    targets: Bools

    @property
    def content_mask(self) -> Mask:
        """What each token may see: itself, what comes before it in the order, the given ones."""
        return permutation(self.order, stream="content") | padding(valid=self.given)

    @property
    def query_mask(self) -> Mask:
        """What may be seen when a target is predicted: the same without the target itself."""
        return permutation(self.order, stream="query") | padding(valid=self.given)

    @property
    def given(self) -> Bools:
        """[batch, length] which tokens everyone may see."""
        return self.ranks < 0

    @property
    def order(self) -> Ints:
        """[batch, length] the columns by their turns, given tokens first.

        Among given tokens the order says nothing: all of them are seen by all.
        """
        return np.argsort(self.ranks, axis=1, kind="stable")


def draw_factorization(
    rng: np.random.Generator, targets: Bools, functional: Bools, perm_size: int
) -> Factorization:
    """Draw an order for each row: stretches one after another, each of them shuffled.

    Args:
        rng: where chance comes from.
        targets: [batch, length] what is to be predicted.
        functional: [batch, length] tokens that stand in the order and are not predicted.
        perm_size: how long a stretch is; tokens of one come before those of all later ones.

    Raises:
        InvalidArgument: a token that is both, or a ``perm_size`` below 1.

    Source: Yang et al. 2019, section 2.3; the ranks of functional and given tokens as in the
        authors' code.
    """
    if (targets & functional).any():
        raise InvalidArgument("got a functional token as a target; wanted it to be one of the two.")
    if perm_size < 1:
        raise InvalidArgument(f"got perm_size={perm_size}; wanted at least 1.")
    batch, length = targets.shape
    # Random numbers between 0 and 1 order a stretch; whole numbers before them, the stretches.
    keys = np.arange(length) // perm_size + rng.random((batch, length))
    ranks = np.argsort(np.argsort(keys, axis=1), axis=1)
    return Factorization(np.where(targets | functional, ranks, -1), targets)


def count_targets(length: int, part: int) -> int:
    """Return how many of ``length`` tokens to predict: one in ``part`` (the paper's K), or 1.

    >>> count_targets(512, 6)
    85
    """
    return max(1, length // part)


def draw_targets(
    rng: np.random.Generator,
    starts: Bools,
    wanted: int,
    *,
    longest: int = 5,
    context: int = 6,
) -> Bools:
    """Choose tokens to predict, in short runs with room around them; exactly ``wanted`` of them.

    From left to right: a run of n tokens (n from 1 to ``longest``, with odds of 1/n) and
    ``n * context`` others around it, anywhere from none to all but one of these on its left; it
    moves on to the next start of a word. What is left to choose at the end of the text is chosen at
    random.

    Args:
        rng: where chance comes from.
        starts: [length] which tokens begin a word.
        wanted: how many tokens to choose, from 0 to length.
        longest: the most tokens of a run.
        context: others around a run for each of its tokens (alpha / beta of the authors' code).

    Returns:
        [length] bools.

    Raises:
        InvalidArgument: more tokens wanted than there are, or a size below 1.

    Source: Yang et al. 2019, section 2.3 ("partial prediction") and appendix; the authors' code.
    """
    length = len(starts)
    if not 0 <= wanted <= length or min(longest, context) < 1:
        raise InvalidArgument(
            f"got wanted={wanted}, longest={longest}, context={context} for {length} tokens; "
            f"wanted 0 to {length} targets, and sizes of at least 1."
        )
    chosen = np.zeros(length, dtype=bool)
    sizes = np.arange(1, longest + 1)
    odds = (1 / sizes) / (1 / sizes).sum()
    at, left = 0, wanted
    while at < length and left:
        size = min(int(rng.choice(sizes, p=odds)), left)
        before = int(rng.integers(size * context))
        begins = np.flatnonzero(starts[at + before :])
        if not len(begins):
            break
        begin = at + before + int(begins[0])
        # A run is n tokens, not n words. The authors' code means to count words, but looks at the
        # run's first token each time, which begins a word; so their models learned from runs of n
        # tokens, and the number of targets comes out exactly.
        end = begin + size
        if end >= length:
            break
        chosen[begin:end] = True
        left -= size
        at = end + size * context - before
    chosen[rng.choice(np.flatnonzero(~chosen), size=left, replace=False)] = True
    return chosen

"""One head, step by step: vectors, scores, mask, weights, output; in float64, by the oracle.

The numbers are made up but fixed: a token's vector follows from its text alone, so that anyone
sees the same. No training is involved, and none is claimed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from sightline.reference import attention
from sightline.views.playground.systems import Sight
from sightline.views.playground.tokens import Rows

__all__ = ["STEPS", "WIDTH", "Scene", "Seen", "scene_of"]

STEPS = ("tokens", "scores", "mask", "weights", "output")
# Numbers in a vector: few enough to be drawn.
WIDTH = 8
# What stands in for a token when it is replaced by another one.
_OTHER = "\u2032"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Seen:
    """What attention gave.

    Attributes:
        weights: ``[queries, keys]``.
        output: ``[queries, WIDTH]``.
    """

    weights: Floats
    output: Floats


@dataclass(frozen=True, eq=False)
class Scene:
    """One attention of one row of the batch, with all numbers before the softmax.

    Attributes:
        sight: the attention.
        row: of the batch.
        changed: the key whose token is replaced by another one, or None.
        counted_from_padding: whether the first position is that of the row, padding included,
            instead of the sentence's first token.
    """

    sight: Sight
    row: int = 0
    changed: int | None = None
    counted_from_padding: bool = False

    @cached_property
    def query_vectors(self) -> Floats:
        """What stands at each query: token and position, ``[queries, WIDTH]``."""
        places = self._places(self.sight.queries)
        if self.sight.blind:
            return places
        return places + _embedded(self.sight.queries.tokens[self.row])

    @cached_property
    def key_vectors(self) -> Floats:
        """What stands at each key: token and position, ``[keys, WIDTH]``."""
        tokens = list(self.sight.keys.tokens[self.row])
        if self.changed is not None:
            tokens[self.changed] += _OTHER
        return self._places(self.sight.keys) + _embedded(tuple(tokens))

    def _places(self, rows: Rows) -> Floats:
        counted = np.arange(rows.width)
        if self.sight.grid is not None:
            axes = np.divmod(counted, self.sight.grid[1])
            return np.concatenate([_waves(axis, WIDTH // 2) for axis in axes], axis=1)
        return _waves(counted if self.counted_from_padding else rows.positions(self.row), WIDTH)

    @cached_property
    def query(self) -> Floats:
        """The queries, ``[queries, WIDTH]``."""
        return self.query_vectors @ _projections()[0]

    @cached_property
    def key(self) -> Floats:
        """The keys, ``[keys, WIDTH]``."""
        return self.key_vectors @ _projections()[1]

    @cached_property
    def value(self) -> Floats:
        """The values, ``[keys, WIDTH]``."""
        return self.key_vectors @ _projections()[2]

    @cached_property
    def scores(self) -> Floats:
        """Query . key / sqrt(WIDTH) of every pair, allowed or not, ``[queries, keys]``."""
        return self.query @ self.key.T / np.sqrt(WIDTH)

    @cached_property
    def allowed(self) -> NDArray[np.bool_]:
        """Who may see whom, bool ``[queries, keys]``."""
        cells = self.sight.mask.dense(self.sight.queries.width, self.sight.keys.width)
        return cells[self.row if len(cells) > 1 else 0, 0]

    @cached_property
    def seen(self) -> Seen:
        """What attention gives under the mask."""
        return self.under(self.allowed)

    @property
    def real(self) -> NDArray[np.bool_]:
        """Which queries are tokens, not padding."""
        return self.sight.queries.valid(self.row)

    def under(self, allowed: NDArray[np.bool_]) -> Seen:
        """Return what attention gives under another mask, bool ``[queries, keys]``."""
        query, key, value = (each[None, None] for each in (self.query, self.key, self.value))
        given = attention(query, key, value, allowed[None, None])
        return Seen(given.weights[0, 0], given.output[0, 0])

    def with_another(self, key: int) -> Scene:
        """Return the scene in which one key is another token."""
        return replace(self, changed=key)


def scene_of(sight: Sight, row: int = 0) -> Scene:
    """Return the numbers of one attention of a row.

    >>> from sightline.views.playground.systems import sights
    >>> scene = scene_of(sights("decoder", "I am")[0])
    >>> scene.seen.weights.round(2).tolist()[0], scene.seen.output.shape
    ([1.0, 0.0, 0.0], (3, 8))
    """
    return Scene(sight, row)


def _embedded(tokens: tuple[str, ...]) -> Floats:
    return np.array([_embedding(token) for token in tokens])


@lru_cache(maxsize=4096)
def _embedding(token: str) -> Floats:
    """Return a token's vector, which follows from its text alone."""
    digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
    vector = np.random.default_rng(list(digest[:16])).standard_normal(WIDTH)
    vector.flags.writeable = False
    return vector


def _waves(positions: NDArray[np.int64], width: int) -> Floats:
    """Return sines and cosines of positions, ``[len(positions), width]``.

    Source: Vaswani et al. 2017, section 3.5; the longest wave is as long as our sentences.
    """
    half = width // 2
    turns = positions[:, None] / 40.0 ** (np.arange(half) / half)
    return np.concatenate([np.sin(turns), np.cos(turns)], axis=1)


@lru_cache(maxsize=1)
def _projections() -> tuple[Floats, Floats, Floats]:
    """Return what makes queries, keys and values of vectors, each ``[WIDTH, WIDTH]``."""
    made = np.random.default_rng(1706).standard_normal((3, WIDTH, WIDTH)) / np.sqrt(WIDTH)
    made.flags.writeable = False
    return made[0], made[1], made[2]

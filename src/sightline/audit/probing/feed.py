"""What a model is run on: named inputs, which of them vary, and how a value is changed.

Values are numpy arrays ``[batch, sequence, ...]`` here, whatever the model takes; the subject
turns them into its own kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

# tokens are exchanged for others of a set, features for large other numbers; fixed stays.
Kind = Literal["tokens", "features", "fixed"]

# How much larger than the given numbers those are that features are exchanged for.
LARGE = 4.0


@dataclass(frozen=True, eq=False)
class Input:
    """One input of a model.

    Attributes:
        name: the keyword by which the model takes it.
        values: ``[batch, sequence, ...]`` if it varies; anything if it is fixed.
        kind: tokens, features or fixed.
        choices: for tokens, the ids to choose from.
    """

    name: str
    values: Any
    kind: Kind
    choices: NDArray[np.int64] | None = None

    @property
    def batch(self) -> int:
        """The number of batch rows."""
        return int(self.values.shape[0])

    @property
    def length(self) -> int:
        """The number of positions."""
        return int(self.values.shape[1])

    def changed(self, where: NDArray[np.bool_], seed: int) -> Input:
        """Return the input with other values where bools ``[batch, sequence, ...]`` are True.

        A token becomes another one of the choices, never itself; a number becomes one that is
        much larger. The same seed gives the same values.
        """
        generator = np.random.default_rng(seed)
        where = where.reshape(where.shape + (1,) * (self.values.ndim - where.ndim))
        other = self._tokens(generator) if self.kind == "tokens" else self._numbers(generator)
        return replace(self, values=np.where(where, other, self.values))

    def _tokens(self, generator: np.random.Generator) -> NDArray[Any]:
        ids = np.sort(self.choices) if self.choices is not None else np.unique(self.values)
        place = np.searchsorted(ids, self.values) % len(ids)
        step = generator.integers(1, len(ids), self.values.shape) if len(ids) > 1 else 0
        other = ids[(place + step) % len(ids)]
        # An id that is none of the choices may land on itself.
        other = np.where(other == self.values, ids[(place + step + 1) % len(ids)], other)
        return other.astype(self.values.dtype)

    def _numbers(self, generator: np.random.Generator) -> NDArray[Any]:
        values = self.values
        if values.dtype == np.bool_:
            return ~values
        scale = LARGE * max(float(np.abs(values).max(initial=0.0)), 1.0)
        sign = 1.0 if (values >= 0).all() else generator.choice([-1.0, 1.0], values.shape)
        other = sign * scale * generator.uniform(0.5, 1.0, values.shape)
        return other.astype(values.dtype)


@dataclass(frozen=True, eq=False)
class Feed:
    """All inputs of one run.

    Attributes:
        inputs: by name, in the order of the model's arguments.
        make: returns a feed of the same model for another batch and sequence length; None where
            the inputs were given and can only be cut and repeated.
        positional: how many of the inputs, from the first, are passed without their names.
    """

    inputs: Mapping[str, Input]
    make: Callable[[int, int], Feed] | None = None
    positional: int = 0
    notes: tuple[str, ...] = field(default=())

    @property
    def varying(self) -> dict[str, Input]:
        """The inputs that can be changed."""
        return {name: each for name, each in self.inputs.items() if each.kind != "fixed"}

    @property
    def batch(self) -> int:
        """The number of batch rows."""
        return next(iter(self.varying.values())).batch

    @property
    def lengths(self) -> set[int]:
        """The sequence lengths of the inputs that vary."""
        return {each.length for each in self.varying.values()}

    def having(self, *changed: Input) -> Feed:
        """Return the feed with other values of some inputs."""
        return replace(self, inputs={**self.inputs, **{each.name: each for each in changed}})

    def resized(self, batch: int, longest: int) -> Feed | None:
        """Return a feed of that many rows, no longer than that; None if it cannot be made.

        Made anew, or the given inputs cut and their rows repeated.
        """
        if self.make is not None:
            return self.make(batch, longest)
        cut: dict[str, Input] = {}
        old, lengths = self.batch, self.lengths
        for name, each in self.inputs.items():
            values = each.values
            if isinstance(values, np.ndarray) and values.ndim and values.shape[0] == old:
                values = values[np.arange(batch) % old]
                for axis in range(1, values.ndim if each.kind == "fixed" else 2):
                    if values.shape[axis] in lengths:
                        values = values.take(range(min(longest, values.shape[axis])), axis=axis)
            cut[name] = replace(each, values=values)
        return replace(self, inputs=cut)

    def still(self, row: int) -> dict[int, NDArray[np.bool_]]:
        """Return what must not move when all rows but one are changed: that row, at any length.

        By length bool ``[batch, length]``; under 0 bool ``[batch]``, for what has no positions.
        """
        alone = np.arange(self.batch) == row
        return {0: alone, **{n: np.repeat(alone[:, None], n, axis=1) for n in self.lengths}}

    def alike(self, row: int) -> list[int]:
        """Return the rows whose fixed inputs, masks among them, are those of a row."""
        fixed = [e.values for e in self.inputs.values() if e.kind == "fixed"]
        arrays = [a for a in fixed if isinstance(a, np.ndarray) and a.shape[:1] == (self.batch,)]
        return [r for r in range(self.batch) if all(np.array_equal(a[r], a[row]) for a in arrays)]

    def repeated(self, row: int) -> Feed:
        """Return the feed with that row's inputs in every row."""
        batch = self.batch
        return replace(
            self,
            inputs={
                name: replace(each, values=np.repeat(each.values[row : row + 1], batch, axis=0))
                if isinstance(each.values, np.ndarray) and each.values.shape[:1] == (batch,)
                else each
                for name, each in self.inputs.items()
            },
        )

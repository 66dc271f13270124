"""The search of visibility.py by gradients instead of changes, for torch modules.

A gradient below ROUNDING of the largest one is rounding.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from sightline.audit.probing.gradients import gradients
from sightline.audit.probing.torch_subject import TorchSubject
from sightline.audit.probing.visibility import Leak, Search

Bools = NDArray[np.bool_]

ROUNDING = 1e-12


class GradientSearch(Search):
    """A search in which a pass asks for the gradient of all quiet outputs at once.

    The weights of the sum are random, so that dependencies do not cancel.
    """

    by = "gradients"

    def test(self, keys: Bools, seed: int, drift: list[str]) -> Leak | None:
        """Return a leak if a quiet output has a gradient at a key; see ``Search.test``."""
        names = tuple(self.judged)
        if self._worst(self._gradient(names, keys, seed), keys)[0] is None:
            return None
        for name in names:
            row, size = self._worst(self._gradient((name,), keys, seed), keys)
            if row is not None:
                quiet = self.quiet(keys)[self.judged[name].shape[1]][row]
                return Leak(self.target, name, row, keys[row], quiet, quiet, size, seed)
        return None

    def _gradient(self, names: tuple[str, ...], keys: Bools, seed: int) -> NDArray[Any]:
        """Return the gradient of the quiet outputs with respect to the inputs, ``[batch, length]``.

        As a part of the largest one of outputs that may depend on them.
        """
        generator = np.random.default_rng(seed)
        quiet = self.quiet(keys)
        weights: dict[str, NDArray[Any]] = {}
        for name in names:
            array = self.judged[name]
            if array.dtype.kind == "f":
                still = quiet[array.shape[1]] & np.any(keys, axis=1, keepdims=True)
                factors = generator.uniform(0.5, 1.5, array.shape)
                weights[name] = factors * still.reshape(*still.shape, *(1,) * (array.ndim - 2))
        runner = self.runner
        runner.counter.done += 1
        found = gradients(
            cast(TorchSubject, runner.subject), self.feed, runner.condition, weights,
            self.target.names, runner.seed,
        )  # fmt: skip
        features = self.target.features or slice(None)
        sizes = [each[..., features].max(axis=-1) for each in found.values()]
        return np.maximum.reduce(sizes)

    def _worst(self, gradient: NDArray[Any], keys: Bools) -> tuple[int | None, float]:
        wrong = np.where(keys, np.nan_to_num(gradient, nan=np.inf), 0.0)
        row = int(wrong.max(axis=1).argmax())
        size = float(wrong[row].max())
        scale = float(np.nan_to_num(gradient).max(initial=0.0))
        if size == 0.0 or (size < ROUNDING * scale):
            return None, 0.0
        return row, size / scale if scale else size

"""Random numbers by name: each purpose and each step has its own, whatever was drawn before."""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["generator", "seed_for"]


def seed_for(seed: int, *purpose: int | str) -> int:
    """Return a seed of 63 bits for one purpose.

    >>> seed_for(1, "step", 7) == seed_for(1, "step", 7) != seed_for(1, "step", 8)
    True
    """
    words = "/".join(str(each) for each in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *purpose: int | str) -> np.random.Generator:
    """Return numpy's generator for one purpose: a batch, an epoch's order, negatives of a user.

    >>> draws = [int(generator(0, "epoch", epoch).integers(100)) for epoch in (1, 1, 2)]
    >>> draws[0] == draws[1]
    True
    """
    return np.random.default_rng(seed_for(seed, *purpose))

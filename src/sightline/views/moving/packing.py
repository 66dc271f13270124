"""Arrays as text for a page: weights in two bytes each, bools in one bit, base64 around them.

A weight of 0 comes back as 0 and nothing else does; what is not a number has codes of its own.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["BROKEN", "Packed", "pack_bits", "pack_weights", "unpack_weights"]

# The code of NaN and infinities. Those below it are steps of a ruler.
BROKEN = 65535
_STEPS = 65500


@dataclass(frozen=True)
class Packed:
    """Weights in two bytes each, in C order.

    Attributes:
        codes: base64 of little-endian uint16; ``BROKEN`` is what is not a number.
        step: the weight between two codes, and so the most by which a weight is off.
        zero: the code of weight 0, which no other weight has.
    """

    codes: str
    step: float
    zero: int


def pack_weights(weights: NDArray[np.float64]) -> Packed:
    """Return ``weights`` in two bytes each: off by less than one step, 0 exact, signs kept.

    >>> packed = pack_weights(np.array([0.0, 1e-9, 1.0, np.nan]))
    >>> packed.zero, round(1 / packed.step), unpack_weights(packed).round(4)
    (0, 65500, array([ 0.,  0.,  1., nan]))
    """
    finite = np.isfinite(weights)
    numbers = np.where(finite, weights, 0.0)
    low, high = min(0.0, float(numbers.min(initial=0))), max(1.0, float(numbers.max(initial=0)))
    # Halves first: the distance between the largest numbers there are is none.
    step = 2 * ((high / 2 - low / 2) / _STEPS)
    zero = max(int(np.ceil(-low / step)), int(low < 0))
    steps = np.rint(numbers / step)
    # What is tiny and not 0 must not look like 0.
    steps = np.where((steps == 0) & (numbers != 0), np.sign(numbers), steps)
    codes = np.where(finite, steps + zero, BROKEN).astype("<u2")
    return Packed(b64encode(codes.tobytes()).decode("ascii"), step, zero)


def unpack_weights(packed: Packed) -> NDArray[np.float64]:
    """Return the weights as the page reads them, flat."""
    codes = np.frombuffer(b64decode(packed.codes), "<u2").astype(np.float64)
    return np.where(codes == BROKEN, np.nan, (codes - packed.zero) * packed.step)


def pack_bits(bools: NDArray[np.bool_]) -> str:
    """Return bools in C order as base64 of bits, the first one highest.

    >>> list(b64decode(pack_bits(np.array([True, False, True]))))
    [160]
    """
    return b64encode(np.packbits(bools.reshape(-1)).tobytes()).decode("ascii")

"""Source ``flax``: the mask of ``dot_product_attention`` and of flax's multi-head layers."""

from __future__ import annotations

from sightline.errors import InvalidArgument
from sightline.recognize.sources.reading import (
    Read,
    Source,
    flags,
    keywords,
    warn_of_empty_rows,
)

SOURCE = Source(
    name="flax",
    reads="mask [batch|1, heads|1, Q, K], or a dict with it",
    true_means="may attend",
)


def read(given: object) -> Read:
    """Read the mask, of bools or of any numbers 0 and 1.

    >>> read({"mask": [[[[1, 0], [1, 1]]]]}).allowed[0, 0].astype(int)
    array([[1, 0],
           [1, 1]])
    """
    call = keywords(given, SOURCE.name, ("mask",))
    if call.get("mask") is None:
        raise InvalidArgument("got no mask for flax; wanted [batch|1, heads|1, Q, K].")
    allowed = flags(call["mask"], "mask", (4,))
    outcome = "flax gives a mean of all values there, padding included"
    return Read(allowed, ("mask: 1 may attend",), warnings=warn_of_empty_rows(allowed, outcome))

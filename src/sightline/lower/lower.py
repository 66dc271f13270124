"""The front door of translation: ``lower(mask, to=...)`` and ``backends()``.

Exact or refused, never approximated. The forms live in one file per destination.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from sightline.lower.arguments import Asked, check_length, check_mask, check_options, find_row
from sightline.lower.destinations import DESTINATIONS, Destination
from sightline.masks.mask import Mask


def lower(
    mask: Mask,
    to: str,
    q_len: int,
    kv_len: int | None = None,
    q_offset: int = 0,
    **options: Any,
) -> Any:
    """Translate a mask into another library's form, exactly, or refuse.

    Args:
        mask: the mask.
        to: the destination, a name of ``backends()``.
        q_len: the number of queries.
        kv_len: the number of keys; None means ``q_len``.
        q_offset: the absolute position of query 0, at least 0.
        options: what the destination takes besides, such as ``dtype`` or ``device``.

    Returns:
        An array for ``numpy.*``; for ``torch.*`` a dict with the complete keywords of the call,
        to be passed on as ``**keywords``.

    Raises:
        CannotExpress: the destination cannot say this mask exactly.
        UnknownBackend: no destination of that name.
        InvalidMask: ``mask`` is not a Mask.
        ShapeMismatch: a length that is negative or does not fit the mask's data.
        InvalidArgument: an option that the destination does not have, or a bad value for one.
        MissingExtra: the destination's package is not installed.

    >>> import sightline as sl
    >>> sl.lower(sl.causal(), to="numpy.additive", q_len=2)
    array([[[[  0., -inf],
             [  0.,   0.]]]], dtype=float32)
    """
    destination: Destination = find_row(DESTINATIONS, to, "destination")
    check_mask(mask)
    q_len = check_length("q_len", q_len)
    kv_len = q_len if kv_len is None else check_length("kv_len", kv_len)
    asked = Asked(mask, q_len, kv_len, check_length("q_offset", q_offset))
    check_options(destination.name, options, destination.options)
    return import_module(destination.module).translate(asked, **options)


def backends() -> tuple[Destination, ...]:
    """List the destinations of ``lower``: what each gives, can say and refuses.

    >>> import sightline as sl
    >>> [destination.name for destination in sl.backends()]
    ['numpy.bool', 'numpy.additive', 'torch.sdpa', 'torch.mha', 'torch.flex']
    """
    return tuple(DESTINATIONS.values())

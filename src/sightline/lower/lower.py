"""The front door of translation: ``lower(mask, to=...)`` and ``backends()``.

Exact or refused, never approximated. The forms live in one file per destination.
"""

from __future__ import annotations

from typing import Any

from sightline.errors import InvalidMask
from sightline.lower.arguments import Asked, check_length, check_mask
from sightline.lower.destinations import Destination, module_of, rows
from sightline.masks.mask import Mask
from sightline.masks.named import check_options


def lower(
    mask: Mask | tuple[Mask, ...],
    to: str,
    q_len: int,
    kv_len: int | None = None,
    q_offset: int = 0,
    **options: Any,
) -> Any:
    """Translate a mask into another library's form, exactly, or refuse.

    Args:
        mask: the mask; for ``torch.transformer`` the three masks (source, target, memory).
        to: the destination, a name of ``backends()``.
        q_len: the number of queries.
        kv_len: the number of keys; None means ``q_len``.
        q_offset: the absolute position of query 0, at least 0.
        options: what the destination takes besides, such as ``dtype`` or ``device``.

    Returns:
        What ``gives`` says in ``backends()``: for ``numpy.*`` an array; else mostly a dict with the
        complete keywords of the call, to be passed on as ``**keywords``.

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
    module = module_of(to)
    destination: Destination = module.DESTINATION
    masks = _check_masks(mask, destination)
    q_len = check_length("q_len", q_len)
    kv_len = q_len if kv_len is None else check_length("kv_len", kv_len)
    at = check_length("q_offset", q_offset)
    check_options(destination.name, options, destination.options)
    return module.translate(*(Asked(each, q_len, kv_len, at) for each in masks), **options)


def _check_masks(given: object, destination: Destination) -> tuple[Mask, ...]:
    """Return the one mask, or the several that a destination takes."""
    names = destination.takes
    if len(names) == 1:
        return (check_mask(given),)
    if not isinstance(given, (tuple, list)) or len(given) != len(names):
        got = f"{len(given)} masks" if isinstance(given, (tuple, list)) else "one mask"
        raise InvalidMask(
            f"got {got} for {destination.name}; wanted {len(names)}: ({', '.join(names)}); pass "
            "sl.everything() for one that forbids nothing."
        )
    return tuple(check_mask(each) for each in given)


def backends() -> tuple[Destination, ...]:
    """List the destinations of ``lower``: what each gives, can say and refuses.

    >>> import sightline as sl
    >>> [destination.name for destination in sl.backends()][:3]
    ['numpy.bool', 'numpy.additive', 'torch.sdpa']
    """
    return rows()

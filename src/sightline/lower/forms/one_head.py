"""For destinations without a head axis: the mask of one head, if all heads see the same."""

from __future__ import annotations

from dataclasses import replace

from sightline.errors import CannotExpress
from sightline.lower.arguments import Asked
from sightline.masks.heads import at_head
from sightline.plan.compare import equivalent


def for_one_head(
    asked: Asked,
    destination: str,
    reason: str = "one mask serves all heads of a call",
    alternative: str = "sl.attend(query, key, value, mask), or one call for each head",
) -> Asked:
    """Return the same question for a mask without heads.

    Raises:
        CannotExpress: at this shape, two heads may not see the same.
    """
    if asked.mask.heads == 1:
        return asked
    first = at_head(asked.mask, 0)
    lengths = asked.q_len, asked.kv_len
    differ = equivalent(asked.mask, first, *lengths, q_offset=asked.q_offset).witness
    if differ is None:
        return replace(asked, mask=first)
    raise CannotExpress(
        destination=destination,
        part=f"heads that differ (head {differ.head} from head 0 at query {differ.query}, "
        f"key {differ.key})",
        reason=reason,
        alternative=alternative,
    )

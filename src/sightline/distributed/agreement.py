"""Whether all ranks were told the same: asked before anything that would hang if they were not."""

from __future__ import annotations

from typing import Any

import torch.distributed as dist

from sightline.distributed.failures import watched
from sightline.distributed.ranks import Ranks
from sightline.errors import RanksDisagree

__all__ = ["agree"]


def agree(ranks: Ranks, what: str, facts: dict[str, Any]) -> None:
    """Compare ``facts`` (names and short values) over the ranks.

    Args:
        ranks: who must agree; every one must call this.
        what: what is being done, for the message.
        facts: what must be the same everywhere.

    Raises:
        RanksDisagree: naming the ranks that differ from most, and each fact that differs.
        RankLost: a rank does not answer.
    """
    everyone: list[Any] = [None] * ranks.size
    with watched(ranks, what):
        dist.all_gather_object(everyone, facts, group=ranks.group)
    texts = [repr(sorted(each.items())) for each in everyone]
    usual = max(texts, key=texts.count)
    if texts.count(usual) == ranks.size:
        return
    odd = [rank for rank, text in enumerate(texts) if text != usual]
    first, most = everyone[odd[0]], everyone[texts.index(usual)]
    differ = [name for name in most if first.get(name) != most[name]]
    told = "; ".join(f"{name} {first.get(name)!r}, not {most[name]!r}" for name in differ)
    names = tuple(ranks.names[rank] for rank in odd)
    raise RanksDisagree(
        f"{what}: rank {names[0]} got {told} as the others; wanted the same on all ranks; give "
        "every rank the same batch, mask and options.",
        ranks=names,
    )

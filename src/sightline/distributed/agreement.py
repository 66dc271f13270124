"""Whether all ranks are about to do the same: asked before anything that would hang if not.

Each call costs eight bytes from everyone to everyone; only where those differ are the facts
themselves compared, to say what differs.
"""

from __future__ import annotations

from ast import literal_eval
from dataclasses import fields, is_dataclass
from hashlib import blake2b
from typing import Any

import torch
import torch.distributed as dist

from sightline.distributed.ranks import Ranks
from sightline.distributed.roll_call import RollCall
from sightline.distributed.verdicts import and_others
from sightline.errors import RanksDisagree
from sightline.masks.arrays import Data
from sightline.masks.mask import Mask

__all__ = ["agree", "fingerprint"]

# Characters of a value that a message shows.
_SHOWN = 120


def agree(ranks: Ranks, what: str, facts: dict[str, Any]) -> None:
    """Compare what the ranks are about to do.

    Args:
        ranks: who must agree; every one must call this.
        what: what is being done, which must be the same too.
        facts: what must be the same everywhere, by name: masks, numbers, texts, tuples of those.

    Raises:
        RanksDisagree: naming the ranks that differ from most, and each fact that differs.
        RankLost: a rank died, stopped with an error, or does not come in time.
    """
    calls = ranks.roll_call
    if calls is None:
        return
    number = calls.begin(what)
    told = [(name, fingerprint(value)) for name, value in facts.items()]
    digest = blake2b(repr((what, number, told)).encode(), digest_size=8).digest()
    mine = torch.tensor([int.from_bytes(digest, "little", signed=True)])
    every = torch.empty(ranks.size, dtype=torch.int64)
    work = dist.all_gather(list(every.split(1)), mine, group=calls.side, async_op=True)
    calls.wait(work, what)
    if bool((every == mine).all()):
        return
    shown = {"call": what, "number of the call": number}
    shown |= {name: _shown(value) for name, value in facts.items()}
    raise _disagreement(ranks, what, _gather(calls, what, shown))


def fingerprint(value: Any) -> str:
    """Return a text that stands for a fact, the same in every process.

    Data counts in full. Of the function of a ``predicate`` its name and its code count, not what
    it closes over.

    >>> import sightline as sl
    >>> fingerprint(sl.causal()) == fingerprint(sl.window(right=0))
    True
    >>> fingerprint(sl.documents(lengths=[3, 2])) == fingerprint(sl.documents(lengths=[2, 3]))
    False
    """
    if not isinstance(value, Mask):
        return _text(value)
    kept = _kept.get(id(value))
    if kept is None:
        if len(_kept) >= 64:
            _kept.clear()
        digest = blake2b(_text(value).encode(), digest_size=16).hexdigest()
        kept = _kept[id(value)] = value, digest  # the mask too: no other gets its id meanwhile
    return kept[1]


_kept: dict[int, tuple[Mask, str]] = {}


def _text(value: Any) -> str:
    if isinstance(value, Data):
        return value.digest.hex()
    if isinstance(value, Mask) and is_dataclass(value):
        parts = [_text(getattr(value, each.name)) for each in fields(value) if each.compare]
        return f"{type(value).__name__}({','.join(parts)})"
    if isinstance(value, tuple | list):
        return f"({','.join(_text(each) for each in value)})"
    if callable(value):
        code = getattr(value, "__code__", None)
        name = getattr(value, "__qualname__", type(value).__qualname__)
        return f"{value.__module__}.{name}:{'' if code is None else code.co_code.hex()}"
    return repr(value)


def _shown(value: Any) -> str:
    text = repr(value)
    if len(text) > _SHOWN or "Data(" in text:
        text = f"{text[: _SHOWN - 3]}... (fingerprint {fingerprint(value)[:8]})"
    return text


def _gather(calls: RollCall, what: str, facts: dict[str, Any]) -> list[dict[str, str]]:
    """Return the facts of every rank."""
    mine = torch.frombuffer(bytearray(repr(list(facts.items())).encode()), dtype=torch.uint8)
    sizes = [torch.zeros(1, dtype=torch.int64) for _ in calls.names]
    size = torch.tensor([len(mine)])
    calls.wait(dist.all_gather(sizes, size, group=calls.side, async_op=True), what)
    longest = max(int(each) for each in sizes)
    rows = [torch.zeros(longest, dtype=torch.uint8) for _ in calls.names]
    padded = torch.cat([mine, mine.new_zeros(longest - len(mine))])
    calls.wait(dist.all_gather(rows, padded, group=calls.side, async_op=True), what)
    texts = [bytes(r[: int(n)].tolist()).decode() for r, n in zip(rows, sizes, strict=True)]
    return [dict(literal_eval(text)) for text in texts]


def _disagreement(ranks: Ranks, what: str, everyone: list[dict[str, str]]) -> RanksDisagree:
    texts = [repr(each) for each in everyone]
    most = max(texts.count(text) for text in texts)
    common = {text for text in texts if texts.count(text) == most}
    # Where as many say one thing as another, nobody can tell who is wrong.
    odd = [r for r, text in enumerate(texts) if len(common) > 1 or text not in common]
    names = [name for each in everyone for name in each]
    told = []
    for name in dict.fromkeys(names):
        values: dict[Any, list[int]] = {}
        for rank, each in enumerate(everyone):
            values.setdefault(each.get(name), []).append(ranks.names[rank])
        if len(values) > 1:
            told.append(f"{name}: {_by_rank(values)}")
        if name == "call" and told:
            break  # of different calls the facts cannot be compared
    return RanksDisagree(
        f"{what}: got {'; '.join(told)}; wanted the same on all ranks; have every rank make the "
        "same calls in the same order, with the same batch, mask and options.",
        ranks=tuple(sorted(ranks.names[rank] for rank in odd)),
    )


def _by_rank(values: dict[Any, list[int]]) -> str:
    ordered = sorted(values.items(), key=lambda item: (-len(item[1]), item[1]))
    return ", ".join(
        f"{'none' if value is None else value} on rank{'s' if len(on) > 1 else ''} {and_others(on)}"
        for value, on in ordered
    )

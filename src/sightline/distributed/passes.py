"""How one rank attends: once when all keys are there, or to those at hand and then to the others.

The second hides the time on the way. Which of the two a rank takes is its own matter: what is sent
and received is the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from sightline.distributed.exchange import Trip, arrive, depart, put_in_order
from sightline.distributed.layout import Spread
from sightline.distributed.merge import Part, merge, spoiled_rows
from sightline.distributed.portions import Portion
from sightline.engines.attend import attend_here
from sightline.engines.registry import ENGINES, choose
from sightline.engines.request import check_request
from sightline.errors import CannotExpress

__all__ = ["Options", "attend_portion", "refusal"]


class Options(NamedTuple):
    """What ``attend`` is told besides the tensors and the mask."""

    scale: float | None
    bias: torch.Tensor | None
    dropout: float
    return_lse: bool
    engine: str

    def at(self, columns: torch.Tensor | None) -> dict[str, Any]:
        """Return them as the arguments of ``sl.attend``, the bias of the keys at ``columns``."""
        told = self._asdict()
        if columns is not None and self.bias is not None:
            told["bias"] = _columns_of(self.bias, columns)
        return told


def attend_portion(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    portion: Portion,
    spread: Spread,
    options: Options,
) -> Any:
    """Return attention of this rank's queries to the keys of all ranks."""
    with _randomness_of(spread.ranks.names[spread.ranks.rank], query.device, options.dropout):
        if portion.is_alone:
            told = options.at(portion.own_columns)
            return attend_here(query, key, value, portion.own, **told)
        trip = Trip(portion.way, spread.ranks)
        key, value, ticket = depart(key, value, trip)
        first = None
        if spread.overlap and _is_separable(query, key, value, portion, options):
            told = {**options.at(portion.own_columns), "return_lse": True}
            first = attend_here(query, key, value, portion.own, **told)
        received = arrive(ticket, trip)
        if first is None:
            return _at_once(query, key, value, received, portion, options)
        second = _to_others(query, received, key.shape[3], portion, options)
        if second is None:
            return _at_once(query, key, value, received, portion, options)
        spoiled, every = spoiled_rows(first, second), None
        if spoiled is not None:
            told = options._replace(return_lse=True)
            every = _at_once(query, key, value, received, portion, told)
        found = merge(first, second, spoiled, every)
        return found if options.return_lse else found[0]


def _to_others(
    query: torch.Tensor, received: torch.Tensor, head_dim: int, portion: Portion, options: Options
) -> Part | None:
    """Return attention to the keys received, or None if the engine cannot say that mask."""
    keys, values = _apart(put_in_order(received, portion.way.others), head_dim)
    told = {**options.at(portion.others_columns), "return_lse": True}
    try:
        return attend_here(query, keys, values, portion.others, **told)
    except CannotExpress:
        return None


def _at_once(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    received: torch.Tensor,
    portion: Portion,
    options: Options,
) -> Any:
    own = torch.cat([key, value], dim=3).transpose(1, 2).flatten(0, 1)
    tokens = put_in_order(torch.cat([own, received]), portion.way.every)
    keys, values = _apart(tokens, key.shape[3])
    return attend_here(query, keys, values, portion.every, **options.at(portion.every_columns))


def _apart(tokens: torch.Tensor, head_dim: int) -> Part:
    """Return the keys and the values of what travelled together."""
    return tokens[..., :head_dim], tokens[..., head_dim:]


def refusal(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    portion: Portion,
    spread: Spread,
    options: Options,
) -> str | None:
    """Return why the engine cannot compute this rank's portion, or None if it can.

    Asked before anything is sent: what one rank cannot compute, the others must not wait for.
    """
    mask = portion.own if portion.is_alone else portion.every
    call = "refusal", *_kind_of(query, key, value, options), options.return_lse

    def ask() -> str | None:
        q, k, v = _stand_ins(query, key, value, portion, spread)
        told: dict[str, Any] = {"dropout": options.dropout, "return_lse": options.return_lse}
        told["bias"] = _stand_in(options.bias)
        try:
            choose(check_request(q, k, v, mask, **told), options.engine)
        except CannotExpress as error:
            return str(error)
        return None

    return portion.remember(call, ask)


def _is_separable(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, portion: Portion, options: Options
) -> bool:
    """Return whether the engine hands out the logsumexp, which "auto" takes no slow one for."""
    call = "separable", *_kind_of(query, key, value, options)

    def ask() -> bool:
        told: dict[str, Any] = {"dropout": options.dropout, "return_lse": True}
        told["bias"] = _stand_in(options.bias)
        try:
            request = check_request(query, key, value, portion.own, **told)
            chosen = choose(request, options.engine).engine
        except CannotExpress:
            return False
        return options.engine != "auto" or ENGINES[chosen].automatic

    return portion.remember(call, ask)


def _kind_of(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, options: Options
) -> tuple[Any, ...]:
    """Return what decides which engines can compute a call, besides the mask."""
    given = (query, key, value, options.bias)
    trains = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in given)
    shapes = query.shape[1], query.shape[3], key.shape[1], value.shape[3]
    return options.engine, query.dtype, shapes, options.bias is None, options.dropout > 0, trains


def _stand_ins(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, portion: Portion, spread: Spread
) -> list[torch.Tensor]:
    """Return tensors that have the shapes of those a rank will attend with, and take no memory."""
    rank = spread.context.ranks.rank
    parts = 1 if spread.heads is None else spread.heads.size
    queries = int(portion.cut.queries.lengths[rank])
    keys = int(portion.cut.keys.lengths[rank])
    if not portion.is_alone:
        keys = portion.way.every.positions.shape[1]
    return [
        each.new_zeros(())
        .expand(each.shape[0], each.shape[1] // parts, length, each.shape[3])
        .requires_grad_(each.requires_grad)
        for each, length in ((query, queries), (key, keys), (value, keys))
    ]


def _stand_in(bias: torch.Tensor | None) -> torch.Tensor | None:
    """Return what engines are chosen by as by the bias.

    Not its columns: what is asked once only must record nothing, for a layer that is worked out
    again must record the same.
    """
    return None if bias is None else bias.new_zeros(()).requires_grad_(bias.requires_grad)


def _columns_of(bias: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Return a bias for the keys at ``columns`` [1|batch, keys] of the sequence."""
    if bias.ndim == 0 or bias.shape[-1] == 1:
        return bias
    if len(columns) == 1:
        return bias.index_select(bias.ndim - 1, columns[0])
    wide = bias.view(*[1] * (4 - bias.ndim), *bias.shape)
    wide = wide.expand(len(columns), -1, -1, -1)
    index = columns[:, None, None, :].expand(-1, *wide.shape[1:3], -1)
    return wide.gather(3, index)


@contextmanager
def _randomness_of(rank: int, device: torch.device, dropout: float) -> Iterator[None]:
    """Let torch draw other numbers on every rank, even if all were seeded alike.

    They follow from torch's generator, which moves on as usual, so that a block that is computed
    again draws the same.
    """
    if dropout == 0.0:
        yield
        return
    seed = int(torch.randint(2**62, (), device="cpu"))
    cuda = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(seed ^ (rank + 1) * 0x9E3779B97F4A7C15 % 2**62)
        for index in cuda:
            torch.cuda.default_generators[index].manual_seed(seed ^ rank)
        yield

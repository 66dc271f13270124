"""Keys and values on their way: out to the ranks that need them, gradients back to who holds them.

One all-to-all with uneven splits each way, both begun before there is other work to do and waited
for after it. Forwards that is attention to the keys at hand, which the caller does between
``depart`` and ``arrive``. Backwards it is the gradients of those keys: autograd runs what was
recorded last first, so that ``arrive`` sends gradients off before they are worked out.
"""

from __future__ import annotations

from typing import Any

import torch

from sightline.distributed.agreement import agree
from sightline.distributed.collectives import Flight
from sightline.distributed.ranks import Ranks
from sightline.distributed.routes import Order, Route

__all__ = ["Trip", "arrive", "depart", "put_in_order"]


class Trip:
    """One journey of keys and values there and of their gradients back."""

    def __init__(self, way: Route, ranks: Ranks) -> None:
        self.way, self.ranks = way, ranks
        self.out: Flight | None = None
        self.home: Flight | None = None

    def send(self, rows: torch.Tensor) -> torch.Tensor:
        """Send this rank's tokens off; return the room for those that come."""
        what = "keys and values of context parallelism"
        self.out = Flight(rows, self.way.sends, self.way.receives, self.ranks, what)
        return self.out.rows

    def send_home(self, rows: torch.Tensor) -> None:
        """Send gradients off to where their tokens lie."""
        agree(self.ranks, "the backward pass of sl.distributed.attend", {})
        what = "gradients of keys and values in context parallelism"
        self.home = Flight(rows, self.way.receives, self.way.sends, self.ranks, what)


def depart(
    key: torch.Tensor, value: torch.Tensor, trip: Trip
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Send keys and values to the ranks that need them; return key and value, and a ticket.

    What is returned goes on in place of key and value, so that all their gradients meet here.
    """
    return _Depart.apply(key, value, trip)


def arrive(ticket: torch.Tensor, trip: Trip) -> torch.Tensor:
    """Wait for what others send; return it as tokens [received, kv_heads, head_dim + value_dim].

    The result must have a part in the output, so that gradients are sent back on every rank.
    """
    return _Arrive.apply(ticket, trip)


def put_in_order(tokens: torch.Tensor, order: Order) -> torch.Tensor:
    """Return tokens [tokens, heads, dim] as [batch, heads, kv_len, dim].

    Where there is none stands any other, which no query may see.
    """
    return _PutInOrder.apply(tokens, order)


class _Depart(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, key, value, trip):
        ctx.trip, ctx.widths = trip, (key.shape[3], value.shape[3])
        way = trip.way
        sent = torch.cat([x[way.row, :, way.place] for x in (key, value)], dim=2)
        ticket = trip.send(sent)
        return key.view_as(key), value.view_as(value), ticket

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_key, grad_value, grad_ticket):
        trip = ctx.trip
        flight, trip.home = trip.home, None
        back = flight.land().split(list(ctx.widths), dim=2)
        grads = [
            _sum_over_ranks(own, theirs, trip) if wanted else None
            for own, theirs, wanted in zip(
                (grad_key, grad_value), back, ctx.needs_input_grad[:2], strict=True
            )
        ]
        return *grads, None


class _Arrive(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, ticket, trip):
        ctx.trip = trip
        flight, trip.out = trip.out, None
        return flight.land().view_as(ticket)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad):
        ctx.trip.send_home(grad)
        return grad, None


class _PutInOrder(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tokens, order):
        ctx.order = order
        return tokens[order.place].transpose(1, 2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad):
        order = ctx.order
        rows = grad.transpose(1, 2).flatten(0, 1)
        if not order.partly:
            return rows[order.back], None
        gone = (order.back < 0)[:, None, None]
        if not len(rows):
            return rows.new_zeros(len(order.back), *rows.shape[1:]), None
        return rows[order.back].masked_fill(gone, 0), None


def _sum_over_ranks(own: torch.Tensor, theirs: torch.Tensor, trip: Trip) -> torch.Tensor:
    """Add this rank's gradient and those that came back, in the order of the ranks.

    In float32 at least, so that it is rounded once however many ranks saw a key.
    """
    working = torch.promote_types(own.dtype, torch.float32)
    total = torch.zeros(own.shape, dtype=working, device=own.device)
    start = 0
    for rank, count in enumerate(trip.way.sends):
        if rank == trip.ranks.rank:
            total += own
        elif count:
            sent = slice(start, start + count)
            row, place = trip.way.row[sent], trip.way.place[sent]
            # No token is sent to a rank twice, so that no two of these meet.
            total[row, :, place] += theirs[sent].to(working)
        start += count
    return total.to(own.dtype)

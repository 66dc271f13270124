"""Single rows of attention, recomputed where a fast kernel must not be trusted with the numbers.

The rows of one batch row and head are computed from its whole [q_len, kv_len] square, in float64,
whichever of them are wanted: so the bits of one row do not depend on which others are.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from sightline.engines.guarded.arithmetic import (
    Gradients,
    Inputs,
    attend_backward,
    guarded_matmul,
    weigh,
)


def attend_rows(
    inputs: Inputs, rows: torch.Tensor, output: torch.Tensor, logsumexp: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return ``output`` and ``logsumexp`` with the wanted ``rows`` computed anew.

    ``rows`` is bool [batch, heads, q_len].
    """
    output = output.clone()
    logsumexp = None if logsumexp is None else logsumexp.clone()
    for batch, head in _squares(rows):
        one = _square(inputs, batch, head)
        found = weigh(one.query, one.key, one.allowed, one.bias, one.scale)
        computed = guarded_matmul(found.weights, one.allowed, one.value).to(output.dtype)
        wanted = rows[batch, head]
        output[batch, head] = torch.where(wanted[:, None], computed, output[batch, head])
        if logsumexp is not None:
            computed = found.logsumexp.to(logsumexp.dtype)
            logsumexp[batch, head] = torch.where(wanted, computed, logsumexp[batch, head])
    return output, logsumexp


def attend_rows_backward(
    inputs: Inputs,
    rows: torch.Tensor,
    grad_output: torch.Tensor,
    grad_logsumexp: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Return what the wanted ``rows`` add to the gradients of query, key, value and bias."""
    totals = [
        torch.zeros(tensor.shape, dtype=torch.float64, device=tensor.device)
        for tensor in (inputs.query, inputs.key, inputs.value)
    ]
    grad_bias = None
    if inputs.bias is not None:
        grad_bias = torch.zeros(inputs.bias.shape, dtype=torch.float64, device=rows.device)
    for batch, head in _squares(rows):
        kv_head = head // (inputs.query.shape[1] // inputs.key.shape[1])
        place = (batch, head)
        upstream_lse = None if grad_logsumexp is None else grad_logsumexp[place].double()
        one, upstream = _square(inputs, *place), grad_output[place].double()
        grads = _square_backward(one, rows[place], upstream, upstream_lse)
        totals[0][batch, head] += grads.query
        totals[1][batch, kv_head] += grads.key
        totals[2][batch, kv_head] += grads.value
        if grad_bias is not None:
            _add_scores(grad_bias, grads.scores, batch, head)
    grad_query, grad_key, grad_value = (total.to(inputs.query.dtype) for total in totals)
    if inputs.bias is not None and grad_bias is not None:
        grad_bias = grad_bias.to(inputs.bias.dtype)
    return grad_query, grad_key, grad_value, grad_bias


def _square(inputs: Inputs, batch: int, head: int) -> Inputs:
    """Return the inputs of one batch row and query head, in float64, two axes each."""
    kv_head = head // (inputs.query.shape[1] // inputs.key.shape[1])
    bias = inputs.bias
    return Inputs(
        inputs.query[batch, head].double(),
        inputs.key[batch, kv_head].double(),
        inputs.value[batch, kv_head].double(),
        inputs.allowed.expand(inputs.scores_shape)[batch, head],
        None if bias is None else bias.expand(inputs.scores_shape)[batch, head].double(),
        inputs.scale,
    )


def _square_backward(
    one: Inputs,
    rows: torch.Tensor,
    grad_output: torch.Tensor,
    grad_logsumexp: torch.Tensor | None,
) -> Gradients:
    weights = weigh(one.query, one.key, one.allowed, one.bias, one.scale).weights
    return attend_backward(
        one.query,
        one.key,
        one.value,
        weights,
        one.allowed & rows[:, None],
        grad_output,
        one.scale,
        grad_logsumexp=grad_logsumexp,
    )


def _add_scores(total: torch.Tensor, scores: torch.Tensor, batch: int, head: int) -> None:
    """Add [q_len, kv_len] to the part of a bias gradient that one batch row and head feed."""
    wide = total[(None,) * (4 - total.ndim)]
    part = wide[batch if wide.shape[0] > 1 else 0, head if wide.shape[1] > 1 else 0]
    stretched = [axis for axis in (0, 1) if part.shape[axis] == 1]
    part += scores.sum(dim=stretched, keepdim=True) if stretched else scores


def _squares(rows: torch.Tensor) -> Iterator[tuple[int, int]]:
    """Yield (batch row, head) wherever a row is wanted."""
    yield from rows.any(dim=-1).nonzero().tolist()

"""The oracle of attention: float64, one query row at a time, forwards and backwards.

Only the keys and values that a row may see are ever read. Speed is left to the engines.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import sqrt
from typing import Any

import numpy as np

from sightline.errors import InvalidMask, ShapeMismatch

__all__ = ["Attention", "Gradients", "attention", "attention_gradients"]


@dataclass(frozen=True)
class Attention:
    """What attention gives, in float64.

    Attributes:
        output: [batch, heads, q_len, value_dim]; 0 for an empty row.
        weights: [batch, heads, q_len, kv_len]; 0 where forbidden.
        logsumexp: [batch, heads, q_len], natural logarithm; -inf for an empty row.
    """

    output: np.ndarray
    weights: np.ndarray
    logsumexp: np.ndarray


@dataclass(frozen=True)
class Gradients:
    """The gradients of the inputs, each in its input's own shape, in float64.

    Attributes:
        query: [batch, heads, q_len, head_dim].
        key: [batch, kv_heads, kv_len, head_dim].
        value: [batch, kv_heads, kv_len, value_dim].
        bias: in the bias's own shape; None without a bias.
    """

    query: np.ndarray
    key: np.ndarray
    value: np.ndarray
    bias: np.ndarray | None


@dataclass(frozen=True)
class _Inputs:
    """The checked inputs, in float64; allowed and bias spread out to every batch row and head."""

    query: np.ndarray
    key: np.ndarray
    value: np.ndarray
    allowed: np.ndarray
    bias: np.ndarray | None
    scale: float

    def rows(self) -> Iterator[tuple[int, int, int, int, np.ndarray]]:
        """Yield (batch, query head, kv head, query, its keys) for every row that is not empty."""
        batch, heads, q_len, _ = self.allowed.shape
        queries_per_kv_head = heads // self.key.shape[1] if heads else 1
        for b, h, q in product(range(batch), range(heads), range(q_len)):
            seen: np.ndarray = self.allowed[b, h, q]
            if self.bias is not None:
                seen = np.logical_and(seen, self.bias[b, h, q] != -np.inf)
            keys = np.flatnonzero(seen)
            if len(keys) > 0:
                yield b, h, h // queries_per_kv_head, q, keys

    def softmax(self, b: int, h: int, g: int, q: int, keys: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the weights of one row's keys, [len(keys)], and the row's logsumexp."""
        # Multiply and add, not a matrix product: its rounding may depend on the number of keys.
        scores = self.scale * (self.key[b, g, keys] * self.query[b, h, q]).sum(axis=-1)
        if self.bias is not None:
            scores = scores + self.bias[b, h, q, keys]
        peak = scores.max()
        exponentials = np.exp(scores - peak)
        total = exponentials.sum()
        return exponentials / total, float(peak + np.log(total))


def attention(
    query: Any,
    key: Any,
    value: Any,
    allowed: Any,
    *,
    scale: float | None = None,
    bias: Any = None,
) -> Attention:
    """Return softmax(scale * query . key + bias) over the allowed keys, times value.

    Args:
        query: [batch, heads, q_len, head_dim].
        key: [batch, kv_heads, kv_len, head_dim]; kv_heads divides heads, and query head h uses
            kv head ``h // (heads // kv_heads)`` (grouped-query attention).
        value: [batch, kv_heads, kv_len, value_dim].
        allowed: bool [batch|1, heads|1, q_len, kv_len]; True may attend.
        scale: factor of the scores; None means ``1 / sqrt(head_dim)``.
        bias: float, broadcastable to [batch, heads, q_len, kv_len]; -inf forbids.

    A row without an allowed key gives weights 0, output 0, logsumexp -inf. What a row may not see
    is not read, so NaN or Inf there cannot matter. What it may see counts as it stands: a NaN in
    an allowed key or in the bias makes the row's weights NaN; a score of +inf (one or several)
    makes the row NaN, as inf - inf has no value; a score of -inf from the key's own content
    weighs 0 beside finite ones, and makes the row NaN where there are no others; a NaN or Inf in
    an allowed value passes into the output, even at weight 0.

    Raises:
        ShapeMismatch: sizes that do not fit.
        InvalidMask: ``allowed`` is not bool, or ``bias`` is.

    Source: Vaswani et al. 2017, section 3.2.1; grouped queries: Ainslie et al. 2023, section 2.2.

    >>> seen = np.array([[[[True, True, False], [False, False, False]]]])
    >>> result = attention(np.zeros((1, 1, 2, 4)), np.ones((1, 1, 3, 4)),
    ...                    np.array([[[[2.0], [4.0], [np.nan]]]]), seen)
    >>> result.output.tolist()
    [[[[3.0], [0.0]]]]
    >>> result.weights.tolist()
    [[[[0.5, 0.5, 0.0], [0.0, 0.0, 0.0]]]]
    """
    given = _checked(query, key, value, allowed, scale, bias)
    output = np.zeros((*given.query.shape[:3], given.value.shape[3]))
    weights = np.zeros(given.allowed.shape)
    logsumexp = np.full(given.query.shape[:3], -np.inf)
    with np.errstate(invalid="ignore", over="ignore"):
        for b, h, g, q, keys in given.rows():
            row_weights, logsumexp[b, h, q] = given.softmax(b, h, g, q, keys)
            weights[b, h, q, keys] = row_weights
            output[b, h, q] = (row_weights[:, None] * given.value[b, g, keys]).sum(axis=0)
    return Attention(output, weights, logsumexp)


def attention_gradients(
    query: Any,
    key: Any,
    value: Any,
    allowed: Any,
    grad_output: Any,
    *,
    grad_logsumexp: Any = None,
    scale: float | None = None,
    bias: Any = None,
) -> Gradients:
    """Return the gradients of query, key, value and bias, given those of output and logsumexp.

    For one row, over its allowed keys j, with s_j = scale * query . key_j + bias_j, weights
    w = softmax(s), output o = sum_j w_j value_j and L = log sum_j exp(s_j); g is the gradient of
    o and l that of L:

    - ``d o / d value_j = w_j``, so ``grad value_j = w_j g``, added over all rows that see j.
    - ``d o / d w_j = value_j``, so w_j receives ``p_j = g . value_j``.
    - The Jacobian of softmax is ``d w_j / d s_i = w_j (1[i = j] - w_i)``, so s_i receives
      ``sum_j p_j w_j (1[i = j] - w_i) = w_i (p_i - sum_j w_j p_j)``.
    - ``d L / d s_i = w_i``, so s_i receives ``l w_i`` besides:
      ``grad s_i = w_i (p_i - sum_j w_j p_j + l)``.
    - s_i is linear in the rest: ``grad query = scale * sum_i grad s_i key_i``,
      ``grad key_i = scale * grad s_i query`` (added over rows and over the query heads that share
      the kv head) and ``grad bias_i = grad s_i`` (added over the axes where bias broadcasts).

    An empty row passes nothing on, whatever g and l hold there. A pair that is forbidden, by
    ``allowed`` or by a bias of -inf, has gradient 0.

    ``query``, ``key``, ``value``, ``allowed``, ``scale`` and ``bias`` are those of ``attention``;
    ``grad_output`` is [batch, heads, q_len, value_dim] and ``grad_logsumexp`` is [batch, heads,
    q_len], where None means 0.

    Raises:
        ShapeMismatch: sizes that do not fit.
        InvalidMask: ``allowed`` is not bool, or ``bias`` is.

    >>> one = np.ones((1, 1, 1, 1))
    >>> grads = attention_gradients(one, one, 5 * one, one > 0, one, grad_logsumexp=one[0], scale=2)
    >>> grads.value.item(), grads.query.item(), grads.bias
    (1.0, 2.0, None)
    """
    given = _checked(query, key, value, allowed, scale, bias)
    rows_shape = given.query.shape[:3]
    g_out = _exactly("grad_output", grad_output, (*rows_shape, given.value.shape[3]))
    g_lse = np.zeros(rows_shape)
    if grad_logsumexp is not None:
        g_lse = _exactly("grad_logsumexp", grad_logsumexp, rows_shape)
    grad_query, grad_key = np.zeros(given.query.shape), np.zeros(given.key.shape)
    grad_value, grad_scores = np.zeros(given.value.shape), np.zeros(given.allowed.shape)
    with np.errstate(invalid="ignore", over="ignore"):
        for b, h, g, q, keys in given.rows():
            w, _ = given.softmax(b, h, g, q, keys)
            p = (given.value[b, g, keys] * g_out[b, h, q]).sum(axis=-1)
            s = w * (p - (w * p).sum() + g_lse[b, h, q])
            grad_value[b, g, keys] += w[:, None] * g_out[b, h, q]
            grad_query[b, h, q] = given.scale * (s[:, None] * given.key[b, g, keys]).sum(axis=0)
            grad_key[b, g, keys] += given.scale * s[:, None] * given.query[b, h, q]
            grad_scores[b, h, q, keys] = s
    grad_bias = None if bias is None else _summed_to(np.asarray(bias).shape, grad_scores)
    return Gradients(grad_query, grad_key, grad_value, grad_bias)


def _summed_to(shape: tuple[int, ...], array: np.ndarray) -> np.ndarray:
    """Add up the axes along which an input of this shape was broadcast to the array's."""
    missing = array.ndim - len(shape)
    array = array.sum(axis=tuple(range(missing)))
    stretched = tuple(axis for axis, size in enumerate(shape) if size == 1)
    return np.asarray(array.sum(axis=stretched, keepdims=True))


def _exactly(name: str, array: Any, shape: tuple[int, ...]) -> np.ndarray:
    floats = np.asarray(array, dtype=np.float64)
    if floats.shape != shape:
        raise ShapeMismatch(
            f"got {name} of shape {floats.shape}; wanted {shape}; it goes with the query and "
            "the value."
        )
    return floats


def _checked(
    query: Any, key: Any, value: Any, allowed: Any, scale: float | None, bias: Any
) -> _Inputs:
    q, k, v = (np.asarray(array, dtype=np.float64) for array in (query, key, value))
    for name, array in (("query", q), ("key", k), ("value", v)):
        if array.ndim != 4:
            raise ShapeMismatch(
                f"got {name} of shape {array.shape}; wanted four axes [batch, heads, sequence, "
                "dim]; add the axes of size 1 that are missing."
            )
    _check_heads(q.shape, k.shape, v.shape)
    full = (*q.shape[:3], k.shape[2])
    scale = 1.0 / sqrt(q.shape[3]) if scale is None else float(scale)
    return _Inputs(q, k, v, _full_allowed(allowed, full), _full_bias(bias, full), scale)


def _check_heads(q: tuple[int, ...], k: tuple[int, ...], v: tuple[int, ...]) -> None:
    if k[:3] != v[:3]:
        raise ShapeMismatch(
            f"got key {k} and value {v}; wanted equal batch, heads and length; only the last "
            "axis may differ."
        )
    if q[0] != k[0]:
        raise ShapeMismatch(
            f"got query batch {q[0]} and key batch {k[0]}; wanted equal sizes; repeat the smaller."
        )
    if q[3] != k[3] or q[3] == 0:
        raise ShapeMismatch(
            f"got query head_dim {q[3]} and key head_dim {k[3]}; wanted equal sizes of at least "
            "1; project both to one size."
        )
    if k[1] == 0 or q[1] % k[1] != 0:
        raise ShapeMismatch(
            f"got {q[1]} query heads and {k[1]} kv heads; wanted kv heads that divide the query "
            "heads; check the order of the axes, [batch, heads, sequence, dim]."
        )


def _full_allowed(allowed: Any, full: tuple[int, ...]) -> np.ndarray:
    cells = np.asarray(allowed)
    if cells.dtype != np.bool_:
        raise InvalidMask(
            f"got allowed of dtype {cells.dtype}; wanted bool, True may attend; write "
            "allowed == 1, or allowed == 0 for an additive mask."
        )
    fits = cells.ndim == 4 and cells.shape[2:] == full[2:]
    if not fits or any(cells.shape[axis] not in (1, full[axis]) for axis in (0, 1)):
        raise ShapeMismatch(
            f"got allowed of shape {cells.shape}; wanted {full}, batch and heads may be 1; give "
            "four axes."
        )
    return np.broadcast_to(cells, full)


def _full_bias(bias: Any, full: tuple[int, ...]) -> np.ndarray | None:
    if bias is None:
        return None
    numbers = np.asarray(bias)
    if numbers.dtype == np.bool_:
        raise InvalidMask(
            "got a bias of dtype bool; wanted floats that are added to the scores; pass a bool "
            "array as allowed."
        )
    try:
        return np.broadcast_to(np.asarray(numbers, dtype=np.float64), full)
    except ValueError:
        raise ShapeMismatch(
            f"got bias of shape {numbers.shape}; wanted one that broadcasts to {full}; each axis, "
            "counted from the last, must be that size or 1."
        ) from None

"""The front door to running attention: ``attend``, ``attention_weights``, ``explain_choice``.

Arguments are checked in request.py, the engine is chosen in registry.py, the work is done in one
file per engine. Needs torch.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from sightline.lower.arguments import require_torch

torch = require_torch("sl.attend")

from sightline import native  # noqa: E402
from sightline.engines.guarded.arithmetic import nothing_seen, touch  # noqa: E402
from sightline.engines.registry import ENGINES, MISSING, Choice, Engine, choose  # noqa: E402
from sightline.engines.request import Request, check_request  # noqa: E402
from sightline.engines.shared import refuse_recomputed, refuse_shared, shared_sequence  # noqa: E402
from sightline.engines.weights import compute_weights  # noqa: E402

# Why weights and choices of engines cannot be told of a shared sequence.
KEYS_ELSEWHERE = "most keys lie on other ranks"

# How the engines run that have been imported so far.
_RUNNERS: dict[str, Callable[[Request], Any]] = {}


def attend(
    query: Any,
    key: Any,
    value: Any,
    mask: Any,
    *,
    q_offset: int = 0,
    scale: float | None = None,
    bias: Any = None,
    dropout: float = 0.0,
    return_lse: bool = False,
    engine: str = "auto",
) -> Any:
    """Return softmax(scale * query . key + bias) over the keys that ``mask`` allows, times value.

    A query that may see nothing gets output 0, logsumexp -inf and gradients 0. What a query may
    not see cannot change its output or its gradient by a single bit, NaN and Inf included. What
    it may see counts as it stands: a NaN in an allowed key, or in the bias of an allowed pair,
    makes that row NaN. A row whose incoming gradient is all 0 passes no gradient on.

    Args:
        query: [batch, heads, q_len, head_dim]; float16, bfloat16, float32 or float64.
        key: [batch, kv_heads, kv_len, head_dim]; kv_heads divides heads, and query head h uses
            kv head ``h // (heads // kv_heads)`` (grouped-query attention).
        value: [batch, kv_heads, kv_len, value_dim].
        mask: a sightline mask for 1 or ``batch`` batch rows and 1 or ``heads`` heads.
        q_offset: the absolute position of query 0; key 0 stands at position 0.
        scale: factor of the scores; None means ``1 / sqrt(head_dim)``.
        bias: floats broadcastable to [batch, heads, q_len, kv_len], added to the scores; -inf
            forbids the pair, and what it holds at a forbidden pair does not matter.
        dropout: the rate at which weights are dropped, the others scaled up; 0 <= rate < 1.
            It applies always: pass 0.0 in evaluation.
        return_lse: return the natural logarithm of the sum of exponentials of the scores too.
        engine: "auto" or the name of an engine (``engines()``); never replaced silently.

    Returns:
        The output [batch, heads, q_len, value_dim] in the query's dtype; with ``return_lse`` the
        pair (output, logsumexp [batch, heads, q_len]), the latter in float32, or in float64 for
        float64 inputs.

    Raises:
        InvalidMask: ``mask`` is not a sightline mask.
        ShapeMismatch: sizes that do not fit, or a negative ``q_offset``.
        InvalidArgument: not a tensor, dtypes or devices that differ, a bad rate or scale.
        CannotExpress: the engine cannot do what was asked (or, with "auto", none can).
        UnknownBackend: no engine of that name.

    Source: Vaswani et al. 2017, section 3.2.1; grouped queries: Ainslie et al. 2023, section 2.2.

    >>> import sightline as sl, torch
    >>> query = key = torch.zeros(1, 1, 3, 4)
    >>> value = torch.tensor([2.0, 4.0, torch.nan]).view(1, 1, 3, 1)
    >>> sl.attend(query, key, value, sl.causal(strict=True)).flatten().tolist()
    [0.0, 2.0, 3.0]
    """
    options = {
        "q_offset": q_offset,
        "scale": scale,
        "bias": bias,
        "dropout": dropout,
        "return_lse": return_lse,
        "engine": engine,
    }
    shared = shared_sequence()
    if shared is not None:
        return shared.attend(query, key, value, mask, **options)
    if not torch.compiler.is_compiling():
        refuse_recomputed(query, key)
    return attend_here(query, key, value, mask, **options)


def attend_here(
    query: Any,
    key: Any,
    value: Any,
    mask: Any,
    *,
    q_offset: int = 0,
    scale: float | None = None,
    bias: Any = None,
    dropout: float = 0.0,
    return_lse: bool = False,
    engine: str = "auto",
) -> Any:
    """Return what ``attend`` does, whose arguments these are, of the tensors at hand alone."""
    request = check_request(
        query,
        key,
        value,
        mask,
        q_offset=q_offset,
        scale=scale,
        bias=bias,
        dropout=dropout,
        return_lse=return_lse,
    )
    chosen = choose(request, engine).engine
    if MISSING is not None and engine == "auto" and request.query.device.type == "cpu":
        native.warn_once()
    if 0 in request.output_shape or 0 in request.scores_shape:
        output, logsumexp = _nothing_to_see(request)
    else:
        run = _RUNNERS.get(chosen) or _load(chosen)
        output, logsumexp = run(request)
    return (output, logsumexp) if return_lse else output


def attention_weights(
    query: Any,
    key: Any,
    mask: Any,
    *,
    q_offset: int = 0,
    scale: float | None = None,
    bias: Any = None,
) -> Any:
    """Return the weights softmax(scale * query . key + bias) over the keys that ``mask`` allows.

    For looking at attention, and for losses on it: this holds all pairs, which ``attend`` need
    not. Arguments are those of ``attend``.

    Returns:
        [batch, heads, q_len, kv_len] in the query's dtype: each row sums to 1; exactly 0 where
        forbidden; all 0 for a query that may see nothing.

    Raises:
        InvalidMask, ShapeMismatch, InvalidArgument: as for ``attend``.
        CannotExpress: inside ``sl.distributed.context_parallel``.

    >>> import sightline as sl, torch
    >>> query = key = torch.zeros(1, 1, 3, 4)
    >>> sl.attention_weights(query, key, sl.causal(strict=True))[0, 0]
    tensor([[0.0000, 0.0000, 0.0000],
            [1.0000, 0.0000, 0.0000],
            [0.5000, 0.5000, 0.0000]])
    """
    refuse_shared("sl.attention_weights", reason=KEYS_ELSEWHERE)
    request = check_request(query, key, key, mask, q_offset=q_offset, scale=scale, bias=bias)
    if 0 in request.scores_shape:
        request.mask.dense(*request.scores_shape[2:], request.q_offset)
        return query.new_zeros(request.scores_shape) + touch(query, key)
    return compute_weights(request)


def explain_choice(
    query: Any,
    key: Any,
    value: Any,
    mask: Any,
    *,
    q_offset: int = 0,
    scale: float | None = None,
    bias: Any = None,
    dropout: float = 0.0,
    return_lse: bool = False,
    engine: str = "auto",
) -> Choice:
    """Return which engine ``attend`` would run for these arguments, and why; runs nothing.

    Raises:
        SightlineError: whatever ``attend`` raises for them.
        CannotExpress: inside ``sl.distributed.context_parallel``.

    >>> import sightline as sl, torch
    >>> x = torch.zeros(1, 1, 3, 4)
    >>> choice = sl.explain_choice(x, x, x, sl.causal(), engine="reference")
    >>> choice.engine, choice.reasons
    ('reference', ('reference was asked for by name.',))
    """
    refuse_shared("sl.explain_choice", reason=KEYS_ELSEWHERE)
    request = check_request(
        query,
        key,
        value,
        mask,
        q_offset=q_offset,
        scale=scale,
        bias=bias,
        dropout=dropout,
        return_lse=return_lse,
    )
    return choose(request, engine, explain=True)


def engines() -> tuple[Engine, ...]:
    """List the engines and what each can do.

    >>> from sightline.engines.attend import engines
    >>> [engine.name for engine in engines()]
    ['cpu', 'sdpa', 'varlen', 'flex', 'reference']
    """
    return tuple(ENGINES.values())


def _load(name: str) -> Callable[[Request], Any]:
    """Import an engine, and return how it runs a request."""
    run = _RUNNERS[name] = import_module(ENGINES[name].module).run
    return run


def _nothing_to_see(request: Request) -> tuple[Any, Any]:
    """Return zeros and -inf where some size is 0: no key, no query, or nothing to put out."""
    request.mask.dense(*request.scores_shape[2:], request.q_offset)  # refuses lengths as always
    return nothing_seen(request.query, request.value.shape[3], *request.tensors[1:])


if MISSING is None:
    _load("cpu")  # torch.compile follows calls, but no imports

"""Each check of sl.guard: a wrong call is found, at its line, and right twins of it are not."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

import sightline as sl
from sightline.audit.guard import Watch, guard

B, H, Q, K, D = 3, 2, 5, 7, 8
INF = float("inf")
HERE = str(Path(__file__))


def sdpa(mask: torch.Tensor | None = None, q: int = Q, k: int = K, b: int = B, **more: bool):
    query, key = torch.randn(b, H, q, D), torch.randn(b, H, k, D)
    return F.scaled_dot_product_attention(query, key, key, attn_mask=mask, **more)


def mha(q: int = Q, k: int = Q, heads: int = H, train: bool = False, **given):
    layer = nn.MultiheadAttention(D, heads, batch_first=True).train(train)
    query = torch.randn(B, q, D)
    key = query if q == k else torch.randn(B, k, D)
    return layer(query, key, key, **given)


def tril(q: int = Q, k: int | None = None) -> torch.Tensor:
    return torch.ones(q, k or q, dtype=torch.bool).tril()


def valid(*lengths: int, k: int = K) -> torch.Tensor:
    """Bools [batch, keys], True for real keys."""
    return torch.arange(k) < torch.tensor(lengths)[:, None]


def added(allowed: torch.Tensor, number: float = -INF) -> torch.Tensor:
    return torch.zeros(allowed.shape).masked_fill(~allowed, number)


def checks(run: Callable[[], object], *, notes: bool = False) -> list[str]:
    watch = watched(run)
    return [f.check for f in (watch.notes if notes else watch.findings)]


def watched(run: Callable[[], object]) -> Watch:
    with guard() as watch:
        run()
    assert watch.calls
    assert not watch.unseen
    return watch


# What is wrong, and the check that must say so; each alone.
WRONG = {
    "upper triangle, True = attend": ("inverted", lambda: sdpa(~tril(), Q, Q)),
    "lower triangle, True = ignore": ("inverted", lambda: mha(attn_mask=tril())),
    "added, upper triangle open": ("inverted", lambda: sdpa(added(~tril()), Q, Q)),
    "causal and padding, inverted": (
        "inverted",
        lambda: sdpa(~(tril() & valid(5, 3, 4, k=Q)[:, None, None]), Q, Q),
    ),
    "causal below a prefix of keys, inverted": (
        "inverted",
        lambda: sdpa(~torch.ones(Q, K, dtype=torch.bool).tril(K - Q)),
    ),
    "a causal window, inverted": (
        "inverted",
        lambda: sdpa(~(tril(9) & ~tril(9).tril(-4)), 9, 9),
    ),
    "padding, True = attend, inverted": (
        "inverted",
        lambda: sdpa(~valid(7, 4, 2)[:, None, None]),
    ),
    "padding, 1 = keep, to torch's layer": (
        "inverted",
        lambda: mha(key_padding_mask=valid(5, 3, 2, k=Q), train=True),
    ),
    "padding on the left, inverted": (
        "inverted",
        lambda: mha(q=4, k=K, key_padding_mask=valid(7, 3, 2).flip(1), train=True),
    ),
    "all True, True = ignore": (
        "inverted",
        lambda: mha(key_padding_mask=torch.ones(B, Q, dtype=torch.bool)),
    ),
    "0 and 1 added": ("zero-one", lambda: sdpa(tril(Q, K).float())),
    "0 and 1 added to torch's layer": (
        "zero-one",
        lambda: mha(key_padding_mask=valid(5, 3, 2, k=Q).float(), train=True),
    ),
    "NaN": ("constants", lambda: sdpa((~tril(Q, K)).float() * -INF)),
    "wrong sign": ("constants", lambda: sdpa((~tril(Q, K)).float() * 1e9)),
    "too weak, causal": ("constants", lambda: sdpa(added(tril(), -5.0), Q, Q)),
    "too weak, padding": (
        "constants",
        lambda: sdpa(added(valid(7, 4, 2), -10.0)[:, None, None]),
    ),
    "is_causal and a mask": (
        "causal-and-mask",
        lambda: sdpa(valid(5, 4, 2, k=Q)[:, None, None], Q, Q, is_causal=True),
    ),
    "is_causal replaces a window": (
        "causal-and-mask",
        lambda: mha(
            train=True, need_weights=False, is_causal=True, attn_mask=~tril() | tril().tril(-2)
        ),
    ),
    "is_causal replaces biases": (
        "causal-and-mask",
        lambda: mha(
            train=True,
            need_weights=False,
            is_causal=True,
            attn_mask=added(tril()) - torch.arange(Q).float(),
        ),
    ),
    "is_causal is not what the mask is": (
        "causal-and-mask",
        lambda: mha(train=True, is_causal=True, attn_mask=~tril() | tril().tril(-2)),
    ),
    "is_causal without a mask on the fast path": (
        "causal-ignored",
        lambda: fast(lambda: mha(is_causal=True, need_weights=False)),
    ),
    "is_causal of an encoder layer on the fast path": (
        "causal-ignored",
        lambda: fast(lambda: encoder_layer()(torch.randn(B, Q, D), is_causal=True)),
    ),
    "is_causal of another length": ("causal-lengths", lambda: sdpa(is_causal=True)),
    "is_causal of one query": ("causal-lengths", lambda: sdpa(q=1, is_causal=True)),
    "padding along the queries": (
        "query-axis",
        lambda: sdpa(valid(5, 3, 2, k=Q)[:, None, :, None]),
    ),
    "padding along the queries, written out": (
        "query-axis",
        lambda: sdpa(added(valid(5, 3, 2, k=Q), -1e9)[:, None, :, None].expand(B, 1, Q, K)),
    ),
    "padding of the batch as queries": (
        "batch-axis",
        lambda: sdpa(valid(3, 7, 2), q=3),
    ),
    "padding of the batch as heads": (
        "batch-axis",
        lambda: sdpa(tril() & valid(5, 3, k=Q)[:, None], Q, Q, b=H),
    ),
    "heads outermost": (
        "batch-layout",
        lambda: mha(attn_mask=~(tril() & valid(5, 3, 2, k=Q)[:, None]).repeat(H, 1, 1)),
    ),
    "a query that sees nothing": ("empty-rows", lambda: sdpa(tril(Q, K).tril(-1))),
    "a row of sources that is all padding": (
        "empty-rows",
        lambda: mha(q=4, k=K, key_padding_mask=~valid(7, 0, 2), need_weights=False, train=True),
    ),
    "a row of sources that is all padding, by SDPA": (
        "empty-rows",
        lambda: sdpa(valid(7, 0, 2)[:, None, None], q=4),
    ),
    "a source that is all padding, as long as its target": (
        "empty-rows",
        lambda: nn.MultiheadAttention(D, H)(
            torch.randn(Q, B, D),
            *[torch.randn(Q, B, D)] * 2,
            key_padding_mask=~valid(5, 0, 2, k=Q),
            need_weights=False,
        ),
    ),
    "pads that make NaN": (
        "empty-rows",
        lambda: mha(train=True, key_padding_mask=~valid(5, 3, 0, k=Q)),
    ),
    "biases on the fast path": (
        "constants",
        lambda: fast(lambda: encoder_layer()(torch.randn(B, Q, D), src_mask=-torch.ones(Q, Q))),
    ),
}


def encoder_layer() -> nn.Module:
    return nn.TransformerEncoderLayer(D, H, 9, batch_first=True).eval()


def fast(run: Callable[[], object]) -> None:
    with torch.no_grad():
        run()


@pytest.mark.filterwarnings("ignore:Converting mask without torch.bool dtype")
@pytest.mark.parametrize("what", WRONG)
def test_wrong_calls_are_found(what: str) -> None:
    check, run = WRONG[what]
    assert checks(run) == [check]


RIGHT: dict[str, Callable[[], object]] = {
    "no mask": lambda: sdpa(),
    "causal": lambda: sdpa(tril(), Q, Q),
    "is_causal": lambda: sdpa(q=Q, k=Q, is_causal=True),
    "causal from the lower right": lambda: sdpa(torch.ones(Q, K, dtype=torch.bool).tril(K - Q)),
    "causal, True = ignore": lambda: mha(attn_mask=~tril()),
    "right to left": lambda: sdpa(tril().T, Q, Q),
    "all but oneself": lambda: sdpa(~torch.eye(Q, dtype=torch.bool), Q, Q),
    "all but oneself and the one before": lambda: sdpa(~(tril() & ~tril().tril(-2)), Q, Q),
    "a window": lambda: sdpa(tril(9) & ~tril(9).tril(-4), 9, 9),
    "blocks": lambda: sdpa(torch.arange(9)[:, None] // 3 == torch.arange(9) // 3, 9, 9),
    "a prefix": lambda: sdpa(tril(9) | (torch.arange(9) < 4), 9, 9),
    "padding": lambda: sdpa(valid(7, 4, 2)[:, None, None]),
    "padding on the left": lambda: sdpa(valid(7, 4, 2).flip(1)[:, None, None]),
    "padding on the left, none full": lambda: sdpa(valid(5, 4, 2).flip(1)[:, None, None]),
    "padding, True = ignore": lambda: mha(key_padding_mask=~valid(5, 3, 2, k=Q)),
    "padding and causal": lambda: mha(attn_mask=~tril(), key_padding_mask=~valid(5, 3, 2, k=Q)),
    "the first key hidden": lambda: sdpa((torch.arange(Q) > 0).repeat(Q, 1), Q, Q),
    "padding added": lambda: sdpa(added(valid(7, 4, 2))[:, None, None]),
    "causal, the least number": lambda: sdpa(added(tril(), torch.finfo(torch.float).min), Q, Q),
    "a bias": lambda: sdpa(torch.randn(1, H, Q, K)),
    "a bias of distances": lambda: sdpa(
        -(torch.arange(Q)[:, None] - torch.arange(K)).abs().float()
    ),
    "a bias of two numbers": lambda: sdpa(torch.where(torch.rand(Q, K) > 0.5, 0.0, -2.0)),
    "a learned bias of 0 and 1": lambda: sdpa(tril(Q, K).float().requires_grad_()),
    "a bias of ones": lambda: sdpa(torch.ones(Q, K)),
    "a hint that is right": lambda: mha(is_causal=True, attn_mask=~tril(), need_weights=False),
    "a hint that is right, added": lambda: mha(
        train=True, is_causal=True, attn_mask=added(tril()), need_weights=False
    ),
    "each row's mask for its heads": lambda: mha(
        attn_mask=~(tril() & valid(5, 3, 2, k=Q)[:, None]).repeat_interleave(H, 0)
    ),
    "a mask for each head, as many as rows": lambda: nn.MultiheadAttention(D, 2)(
        *[torch.randn(Q, 2, D)] * 3, attn_mask=~torch.stack([tril(), tril() & ~tril().tril(-2)] * 2)
    ),
    "a mask for each head": lambda: sdpa(
        torch.stack([tril(), tril() & ~tril().tril(-2)]), Q, Q, b=H
    ),
    "the same mask for each head": lambda: sdpa(
        (tril() & valid(3, k=Q)).expand(H, Q, Q).contiguous(), Q, Q, b=H
    ),
    "a triangle of as many queries as rows": lambda: sdpa(tril(B), B, B),
    "a prefix of as many queries as rows": lambda: sdpa(tril(B) | (torch.arange(B) < 2), B, B),
    "one step with a cache": lambda: sdpa(valid(7, 4, 2).flip(1)[:, None, None], q=1),
    "a mask for each row of 3-D queries": lambda: F.scaled_dot_product_attention(
        *[torch.randn(B, Q, D)] * 3, attn_mask=tril() & valid(5, 3, 2, k=Q)[:, None]
    ),
    "added keys": lambda: nn.MultiheadAttention(D, H, add_zero_attn=True, add_bias_kv=True)(
        *[torch.randn(Q, B, D)] * 3, key_padding_mask=~valid(5, 0, 2, k=Q)
    ),
    "padding of an encoder on the fast path": lambda: fast(
        lambda: encoder_layer()(torch.randn(B, Q, D), src_key_padding_mask=~valid(5, 3, 2, k=Q))
    ),
    "causal encoder on the fast path": lambda: fast(
        lambda: encoder_layer()(torch.randn(B, Q, D), src_mask=~tril(), is_causal=True)
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", RIGHT)
def test_right_calls_are_not(what: str) -> None:
    watch = watched(RIGHT[what])
    assert not watch.findings, str(watch)
    assert not watch.notes, str(watch)


def test_the_line_the_call_and_the_number_of_times_are_told() -> None:
    mask = ~tril()
    with guard() as watch:
        for _ in range(4):
            query = torch.randn(B, H, Q, D)
            F.scaled_dot_product_attention(query, query, query, attn_mask=mask)
        line = inspect.currentframe().f_lineno - 1  # pyright: ignore[reportOptionalMemberAccess]
    (finding,) = watch.findings
    assert (finding.where.file, finding.where.line, finding.times) == (HERE, line, 4)
    assert finding.where.text == (
        "F.scaled_dot_product_attention(query, query, query, attn_mask=mask)"
    )
    assert finding.call == (
        "scaled_dot_product_attention(attn_mask=bool[5, 5]): 3 x 2 heads, 5 queries x 5 keys, "
        "float32"
    )
    assert finding.caller is None
    assert finding.severity == "error"
    assert f"{HERE}:{line}" in str(watch)
    assert "(4 calls)" in str(watch)


def test_two_lines_are_two_findings_with_their_modules() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = (nn.MultiheadAttention(D, H) for _ in range(2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.first(x, x, x, attn_mask=tril())[0]
            return self.second(x, x, x, attn_mask=tril())[0]

    with guard() as watch:
        Twice()(torch.randn(Q, B, D))
    told = [(f.check, f.module, f.where.text) for f in watch.findings]
    assert told == [
        ("inverted", "first (MultiheadAttention)", "x = self.first(x, x, x, attn_mask=tril())[0]"),
        (
            "inverted",
            "second (MultiheadAttention)",
            "return self.second(x, x, x, attn_mask=tril())[0]",
        ),
    ]


def test_padded_queries_that_see_nothing_are_a_note() -> None:
    left = tril() & valid(5, 3, 2, k=Q).flip(1)[:, None, None]
    watch = watched(lambda: sdpa(left, Q, Q))
    assert not watch.findings
    (note,) = watch.notes
    assert note.check == "empty-rows"
    assert note.message.startswith("queries 0-1 of batch row 1, and some of rows 2, may see no key")


def test_a_swin_constant_is_a_note() -> None:
    assert checks(lambda: sdpa(added(tril(), -100.0), Q, Q), notes=True) == ["constants"]


def test_a_sum_that_overflows_is_a_note() -> None:
    least = torch.finfo(torch.float).min
    both = added(tril(), least) + added(valid(5, 3, 2, k=Q), least)[:, None, None]
    watch = watched(lambda: sdpa(both, Q, Q))
    assert [f.check for f in watch.notes] == ["constants"]
    assert not watch.findings


def test_the_numbers_in_messages() -> None:
    (finding,) = watched(lambda: sdpa(is_causal=True)).findings
    assert "query 0 sees key 0 only, the last one keys 0-4" in finding.message
    assert "query 0 sees keys 0-2" in finding.message
    assert "q_offset=2" in finding.message
    with guard() as watch:
        mha(attn_mask=~(tril() & valid(5, 3, 2, k=Q)[:, None]).repeat(H, 1, 1))
    assert "repeat_interleave(2, dim=0)" in watch.findings[0].message


def test_our_layers_masks_are_looked_at_too() -> None:
    layer = sl.nn.MultiheadAttention(D, H, batch_first=True)
    x = torch.randn(B, Q, D)
    with guard() as watch:
        layer(x, attn_mask=tril())
        layer(x, attn_mask=~tril(), key_padding_mask=~valid(5, 3, 2, k=Q))
        layer(x, mask=sl.causal() & sl.padding(lengths=[5, 3, 2]))
    assert [f.check for f in watch.findings] == ["inverted"]
    assert watch.findings[0].where.text == "layer(x, attn_mask=tril())"
    assert watch.calls == 3
    with guard() as watch:
        layer(x, key_padding_mask=valid(5, 3, 2, k=Q))
    assert [f.check for f in watch.findings] == ["inverted"]


def test_a_hint_that_replaces_a_mask_is_worse_than_one_that_does_not() -> None:
    band = ~tril() | tril().tril(-2)
    with guard() as watch:
        mha(train=True, need_weights=False, is_causal=True, attn_mask=band)
    assert [f.severity for f in watch.findings] == ["error"]
    with guard() as watch:
        mha(train=True, need_weights=True, is_causal=True, attn_mask=band)
    assert [f.severity for f in watch.findings] == ["warning"]


def test_attend_is_told_apart() -> None:
    q, k = torch.randn(B, H, Q, D), torch.randn(B, H, K, D)
    with guard() as watch:
        sl.attend(q, k, k, sl.causal(strict=True))
        sl.attend(q, k, k, sl.causal(), bias=tril(Q, K).float())
        sl.attend(q, k, k, sl.causal(), bias=torch.randn(1, H, Q, K))
    assert [f.check for f in watch.findings] == ["zero-one"]
    assert [f.check for f in watch.notes] == ["empty-rows"]
    assert watch.calls == 3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes(dtype: torch.dtype) -> None:
    x = torch.randn(B, H, Q, D, dtype=dtype)
    with guard() as watch:
        F.scaled_dot_product_attention(x, x, x, attn_mask=added(~tril()).to(dtype))
    assert [f.check for f in watch.findings] == ["inverted"]


def test_a_large_mask_is_looked_at_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sightline.audit.guards.reading.MOST_CELLS", 100)
    n = 24
    with guard() as watch:
        sdpa(~tril(n), n, n)
        sdpa(tril(n), n, n)
    assert [f.check for f in watch.findings] == ["inverted"]
    assert watch.unseen == (
        "2 x scaled_dot_product_attention: of a large mask only every 6th query",
    )

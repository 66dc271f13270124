"""What takes more than one call: declared masks, masks that are dropped, layers that differ."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

import sightline as sl
from sightline.audit.guard import guard
from sightline.audit.guards.layers import odd_one
from sightline.errors import GuardError

B, H, Q, K, D = 3, 2, 5, 7, 8


class Attention(nn.Module):
    """Attention that hands its mask on to the kernel, or loses it."""

    def __init__(self, lose: bool = False, window: int | None = None) -> None:
        super().__init__()
        self.qkv = nn.Linear(D, 3 * D)
        self.lose, self.window = lose, window

    def forward(self, x: torch.Tensor, attn_mask: torch.Tensor | None = None) -> torch.Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, H, -1)).permute(2, 0, 3, 1, 4)
        if attn_mask is not None and self.window is not None:
            attn_mask = attn_mask & ~attn_mask.tril(-self.window)
        mask = None if self.lose else attn_mask
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)


class Stack(nn.Module):
    def __init__(self, layers: list[Attention]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: torch.Tensor, attn_mask: torch.Tensor | None = None) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x, attn_mask=attn_mask)
        return x


def tril(q: int = Q, k: int | None = None) -> torch.Tensor:
    return torch.ones(q, k or q, dtype=torch.bool).tril()


def x(length: int = Q) -> torch.Tensor:
    return torch.randn(B, length, D)


# -- declared -----------------------------------------------------------------------------------


def test_a_declared_mask_that_arrives() -> None:
    model = Stack([Attention(), Attention()])
    with guard("raise", declared=sl.causal()) as watch:
        model(x(), tril())
    assert watch.calls == 2


def test_padding_may_be_hidden_whatever_was_declared() -> None:
    valid = torch.from_numpy(sl.padding(lengths=[5, 3, 2]).dense(1, Q))
    left = torch.from_numpy(sl.padding(lengths=[5, 3, 2], side="left").dense(Q, Q))
    with guard("raise", declared=sl.causal()):
        Stack([Attention()])(x(), tril() & valid)
        Stack([Attention()])(x(), tril() & left)


def test_the_first_call_that_lets_more_through_is_named() -> None:
    model = Stack([Attention(), Attention(lose=True), Attention(lose=True)])
    with guard(declared=sl.causal()) as watch:
        model(x(), tril())
    found = {f.check: f for f in watch.findings}
    leak = found["declared-leak"]
    assert (leak.module, leak.times) == ("layers.1 (Attention)", 2)
    assert "(query, key) (0, 1), (0, 2), (0, 3), (0, 4), (1, 2) and 5 more" in leak.message
    assert "No mask arrived at all" in leak.message
    assert leak.where.text.startswith("return F.scaled_dot_product_attention(q, k, v")


def test_a_call_that_hides_more_is_named() -> None:
    with guard(declared=sl.causal()) as watch:
        Stack([Attention(window=2)])(x(), tril())
    (finding,) = watch.findings
    assert (finding.check, finding.severity) == ("declared-missing", "warning")
    assert "(2, 0), (3, 0), (3, 1), (4, 0), (4, 1) and 1 more" in finding.message


def test_declared_by_name_holds_for_what_is_below_and_the_nearest_name_wins() -> None:
    model = Stack([Attention(), Attention(window=2)])
    near = sl.window(left=1, right=0)
    with guard("raise", declared={"layers": sl.causal(), "layers.1": near}):
        model(x(), tril())
    with guard(declared={"layers": sl.causal()}) as watch:
        model(x(), tril())
    assert [f.module for f in watch.findings] == ["layers.1 (Attention)"]


def test_a_declaration_that_nothing_was_compared_with_is_said() -> None:
    with guard(declared={"layers.7": sl.causal()}) as watch:
        line = inspect.currentframe().f_lineno - 1  # pyright: ignore[reportOptionalMemberAccess]
        Stack([Attention()])(x(), tril())
    (finding,) = watch.findings
    assert finding.check == "declared-unseen"
    assert "for 'layers.7', and 1 calls were seen" in finding.message
    assert finding.where.line == line
    with pytest.raises(GuardError, match="no call of attention"), guard("raise", sl.causal()):
        pass


def test_a_mask_for_another_batch_is_not_compared() -> None:
    with guard(declared=sl.causal() & sl.padding(lengths=[5, 3])) as watch:
        Stack([Attention()])(x(), tril())
    assert [f.check for f in watch.findings] == ["declared-size"]


def test_batch_rows_are_named() -> None:
    with guard(declared=sl.causal() & sl.padding(lengths=[5, 3, 2])) as watch:
        Stack([Attention()])(x(), tril())
    assert "(3, 3) of batch row 1, (4, 3) of batch row 1" in watch.findings[0].message


def test_steps_with_a_cache_stand_at_the_end() -> None:
    class Cached(nn.Module):
        def forward(self, q: torch.Tensor, k: torch.Tensor, mask: Any = None) -> torch.Tensor:
            return F.scaled_dot_product_attention(q, k, k, attn_mask=mask)

    model, k = Cached(), torch.randn(B, H, K, D)
    declared = sl.window(left=3, right=0)
    first = torch.from_numpy(declared.dense(Q))
    later = torch.from_numpy(declared.dense(2, K, q_offset=K - 2))
    with guard(declared=declared) as watch:
        model(k[:, :, :Q], k[:, :, :Q], first)
        model(k[:, :, Q:], k, later)
        assert not watch.findings
        model(k[:, :, Q:], k)
    assert [f.check for f in watch.findings] == ["declared-leak"]
    assert "(5, 0), (5, 1), (5, 6)" in watch.findings[0].message


def test_cross_attention_is_left_out() -> None:
    model = nn.Transformer(D, H, 1, 1, 9, batch_first=True)
    causal = ~tril()
    with guard("raise", declared={"decoder": sl.causal()}):
        model(x(), x(), tgt_mask=causal, tgt_is_causal=False)  # sources as long as targets
    with guard(declared=sl.causal()) as watch:
        model(x(), x(), tgt_mask=causal)
    assert [f.module for f in watch.findings] == ["encoder.layers.0.self_attn (MultiheadAttention)"]


def test_our_own_calls() -> None:
    layer = sl.nn.MultiheadAttention(D, H, batch_first=True)
    with guard("raise", declared=sl.causal()):
        layer(x(), mask=sl.causal() & sl.padding(lengths=[5, 3, 2]))
        layer(x(), attn_mask=~tril())
        q, k = torch.randn(B, H, 2, D), torch.randn(B, H, K, D)
        sl.attend(q, k, k, sl.causal(), q_offset=K - 2)
    with guard(declared=sl.causal()) as watch:
        sl.attend(q, k, k, sl.everything(), q_offset=K - 2)
    assert "(query, key) (5, 6)." in watch.findings[0].message
    with guard(declared=sl.causal()) as watch:
        layer(x(), mask=sl.prefix(2) | sl.causal())
    assert [f.check for f in watch.findings] == ["declared-leak"]
    assert "(query, key) (0, 1)." in watch.findings[0].message


# -- masks that are dropped ---------------------------------------------------------------------


def test_a_mask_that_no_kernel_got() -> None:
    model = Stack([Attention(), Attention(lose=True)])
    with guard() as watch:
        model(x(), tril())
        model(x(), tril())
    (finding,) = watch.findings
    assert (finding.check, finding.module) == ("mask-dropped", "layers.1 (Attention)")
    assert finding.message.startswith("Attention was given attn_mask, which hides keys")
    with pytest.raises(GuardError, match="mask-dropped"), guard("raise"):
        model(x(), tril())


@pytest.mark.parametrize(
    "mask",
    [None, torch.ones(Q, Q, dtype=torch.bool), torch.zeros(Q, Q), tril(Q, K), torch.ones(B, Q)],
    ids=["none", "hides nothing", "adds nothing", "for other keys", "ones"],
)
def test_a_mask_that_need_not_arrive(mask: torch.Tensor | None) -> None:
    with guard("raise"):
        Stack([Attention(lose=True)])(x(), mask)


def test_a_module_that_masks_one_of_its_calls_is_left_alone() -> None:
    class Both(nn.Module):
        def forward(self, q: torch.Tensor, source_mask: torch.Tensor) -> torch.Tensor:
            q = F.scaled_dot_product_attention(q, q, q)
            return F.scaled_dot_product_attention(q, q, q, attn_mask=source_mask)

    with guard("raise"):
        Both()(torch.randn(B, H, Q, D), tril())


# -- layers that differ -------------------------------------------------------------------------


def notes(layers: list[Attention], passes: int = 1) -> list[str]:
    with guard("raise") as watch:
        for _ in range(passes):
            Stack(layers)(x(9), tril(9))
    assert watch.calls == passes * len(layers)
    return [f"{note.check} {note.module} {note.times}" for note in watch.notes]


def same(count: int) -> list[Attention]:
    return [Attention() for _ in range(count)]


def test_one_layer_that_differs_is_a_note() -> None:
    odd = Attention()
    odd.register_forward_pre_hook(lambda _, args: args)
    layers = [*same(4), odd, *same(8)]
    original = odd.forward
    odd.forward = lambda x, attn_mask=None: original(x, attn_mask & ~tril(9).tril(-3))  # type: ignore[method-assign]
    assert notes(layers, passes=2) == ["layer-differs layers.4 (Attention) 2"]


def test_layers_that_differ_by_design_are_not() -> None:
    assert notes(same(12)) == []
    assert notes([*same(4), Attention(window=3), *same(8)]) == []  # its settings say so
    mixed = [Attention(window=3 if number % 3 else None) for number in range(12)]
    assert notes(mixed) == []


@pytest.mark.parametrize(
    ("sights", "odd"),
    [
        ("aaaabaaaaaaa", 4),
        ("aabaaaaaaaaaaaa", 2),
        ("aaaaaa", None),
        ("baaaaaaaaaaa", None),  # the first
        ("aaaaaaaaaaab", None),  # the last
        ("aaaaabaaaaa", None),  # every sixth
        ("aaaaabaaaaab", None),
        ("abababab", None),
        ("aaabbaaaaaaa", None),
        ("aaaabaaacaaa", None),
        ("aba", None),  # too few to tell
    ],
)
def test_odd_one(sights: str, odd: int | None) -> None:
    assert odd_one(sights) == odd

"""Layers under torch.compile: the same bits, the same promises; masks as tensors break the graph.

Right numbers are the affair of tests/parity; here they are compared with those of a plain call.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from on_cpu import assert_same

import sightline as sl

pytestmark = [
    pytest.mark.usefixtures("kernels"),
    # torch.compile does it itself when it meets an autograd function.
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),
]

B, L, E, HEADS = 3, 5, 12, 4
REAL = sl.padding(lengths=[5, 2, 3])
BOTH = REAL & REAL.T


def tokens() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(B, L, E)


def gradients(output: torch.Tensor, layer: torch.nn.Module) -> list[torch.Tensor]:
    return list(torch.autograd.grad(output.square().sum(), list(layer.parameters())))


def test_attention_with_masks_in_one_graph() -> None:
    layer, x = sl.nn.MultiheadAttention(E, HEADS, batch_first=True), tokens()

    def call(x: torch.Tensor, mask: sl.Mask | None) -> torch.Tensor:
        return layer(x, mask=mask, need_weights=False)[0]

    run = torch.compile(call, backend="aot_eager", fullgraph=True)
    for mask in (sl.causal(), BOTH, None):
        got, wanted = run(x, mask), call(x, mask)
        assert_same([got, *gradients(got, layer)], [wanted, *gradients(wanted, layer)])


def test_poison_changes_no_gradient() -> None:
    layer, x = sl.nn.TransformerEncoderLayer(E, HEADS, 20, 0.0, "gelu", batch_first=True), tokens()
    spoiled = x.clone()
    spoiled[1, 2:] = torch.nan
    run = torch.compile(layer, backend="aot_eager", fullgraph=True)
    rows = torch.arange(L) < torch.tensor([5, 2, 3])[:, None]
    clean, poisoned = (run(each, REAL)[rows] for each in (x, spoiled))
    assert_same([clean, *gradients(clean, layer)], [poisoned, *gradients(poisoned, layer)])
    assert_same([clean], [layer(x, REAL)[rows]])


# And this when a graph breaks, of tensors on their way from one half to the other.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_torchs_masks_and_weights() -> None:
    layer, x = sl.nn.MultiheadAttention(E, HEADS, batch_first=True), tokens()

    def call(x: torch.Tensor, **masks: Any) -> tuple[torch.Tensor, torch.Tensor]:
        return layer(x, is_causal=True, **masks)

    run = torch.compile(call, backend="aot_eager")
    for lengths in ([5, 2, 3], [1, 4, 5]):
        padded = torch.arange(L) >= torch.tensor(lengths)[:, None]
        named = {"key_padding_mask": padded, "attn_mask": torch.eye(L).roll(1, 0).bool()}
        assert_same(list(run(x, **named)), list(call(x, **named)))

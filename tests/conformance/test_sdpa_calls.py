"""Engine sdpa calls torch's kernel in one way per shape and mask, whatever the numbers are.

Bits of rows that see no poison can only stay the same if the kernel, the layout and the alignment
do. What reaches the kernel is recorded here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from poisoning import MASKS, Case, draw, poison_key

import sightline as sl

INFINITY = float("inf")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Record the calls of scaled_dot_product_attention."""
    recorded: list[dict[str, Any]] = []
    original = torch.nn.functional.scaled_dot_product_attention

    def recording(*tensors: torch.Tensor, **keywords: Any) -> torch.Tensor:
        recorded.append({"tensors": tensors, **keywords})
        return original(*tensors, **keywords)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", recording)
    return recorded


def attend(case: Case) -> None:
    named = {"query": case.query, "key": case.key, "value": case.value}
    sl.attend(**named, mask=case.mask, q_offset=case.q_offset, bias=case.bias, engine="sdpa")


def outline(call: dict[str, Any]) -> list[Any]:
    """Return all about a call that may decide how it is computed, and no numbers."""
    mask = call["attn_mask"]
    tensors = [*call["tensors"], *([] if mask is None else [mask])]
    about = [(t.shape, t.stride(), t.dtype, t.data_ptr() % 64, t.requires_grad) for t in tensors]
    return [*about, mask is None, call["is_causal"], call["scale"], call["enable_gqa"]]


def layouts(tensor: torch.Tensor) -> list[torch.Tensor]:
    room = torch.empty(tensor.numel() + 1, dtype=tensor.dtype)
    room[1:] = tensor.reshape(-1)
    return [
        tensor,
        tensor.transpose(1, 2).contiguous().transpose(1, 2),
        torch.cat([tensor, tensor], dim=-1)[..., : tensor.shape[-1]],
        room[1:].view(tensor.shape),
    ]


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("bias", [False, True])
def test_the_call_is_the_same_with_poison(
    name: str, bias: bool, calls: list[dict[str, Any]]
) -> None:
    plain = draw(MASKS[name], torch.float32, bias=bias)
    place = (1, 0, slice(2, 5))
    for number in (float("nan"), INFINITY, 1e38, 1e10):
        poisoned = poison_key(plain, place, number, "key and value")
        poisoned.query[0, 1, 2] = number
        if poisoned.bias is not None:
            poisoned.bias[2, 1, 3] = number
        attend(plain)
        attend(poisoned)
        assert outline(calls[-2]) == outline(calls[-1])
        reached = [*calls[-1]["tensors"]]
        assert all(tensor.isfinite().all() for tensor in reached)
        assert all(tensor.abs().max() <= 2.0**40 for tensor in reached)


def test_the_kernel_gets_one_layout(calls: list[dict[str, Any]]) -> None:
    case = draw(MASKS["window"], torch.float32)
    named = ("query", "key", "value")
    for query, key, value in zip(*(layouts(getattr(case, name)) for name in named), strict=True):
        attend(replace(case, query=query, key=key, value=value))
    for call in calls:
        assert outline(call) == outline(calls[0])
        for tensor in call["tensors"]:
            assert tensor.is_contiguous()
            assert tensor.data_ptr() % 64 == 0


@pytest.mark.parametrize(
    ("mask", "has_mask", "is_causal"),
    [
        (sl.everything(), False, False),
        (sl.causal(), False, True),
        (sl.causal() & sl.padding(lengths=[7, 2, 5]), True, False),
        (sl.nothing(), True, False),
    ],
)
def test_short_forms(
    mask: sl.Mask, has_mask: bool, is_causal: bool, calls: list[dict[str, Any]]
) -> None:
    case = draw(mask, torch.float32, offset=0)
    attend(case)
    assert (calls[0]["attn_mask"] is not None) == has_mask
    assert calls[0]["is_causal"] == is_causal
    attend(replace(case, bias=torch.zeros(1)))
    assert calls[1]["attn_mask"] is not None
    assert not calls[1]["is_causal"]


def test_no_row_of_the_kernel_is_empty(calls: list[dict[str, Any]]) -> None:
    """Some releases and devices make NaN of empty rows; here they never meet one."""
    for name, mask in MASKS.items():
        for bias in (False, True):
            case = draw(mask, torch.float32, bias=bias)
            if case.bias is not None:
                case.bias[0, 2, 1] = -INFINITY
            attend(case)
            reached = calls[-1]["attn_mask"]
            if reached is not None:
                open_pairs = reached if reached.dtype == torch.bool else reached != -INFINITY
                assert open_pairs.any(dim=-1).all(), name
            # Whatever key an empty row is lent, its score must be harmless.
            allowed = case.allowed if case.bias is None else case.allowed & ~case.bias.isneginf()
            assert not calls[-1]["tensors"][0][~allowed.any(dim=-1)].any()

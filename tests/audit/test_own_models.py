"""Sightline's own layers and models keep what they promise."""

from __future__ import annotations

import numpy as np
import pytest

import sightline as sl

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from sightline.models.gpt import GPT, GPTConfig  # noqa: E402


class Layered(nn.Module):
    """Two of our Transformer layers over tokens, told of padding and of a mask."""

    def __init__(self, mask: sl.Mask) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.mask = mask
        self.embed = nn.Embedding(31, 12)
        self.layers = nn.ModuleList(
            sl.nn.TransformerEncoderLayer(12, 3, 20, batch_first=True) for _ in range(2)
        )

    def forward(
        self, tokens: torch.Tensor, key_padding_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        x = self.embed(tokens)
        mask = self.mask
        if key_padding_mask is not None:
            mask = mask & sl.padding(valid=~key_padding_mask.numpy())
        for layer in self.layers:
            x = layer(x, src_mask=mask)
        return x


@pytest.mark.parametrize(
    "mask",
    [sl.causal(), sl.causal() & sl.window(left=2), sl.window(left=3) | sl.prefix(2)],
    ids=repr,
)
def test_layers_show_what_two_of_them_reach_and_no_more(mask: sl.Mask) -> None:
    reached = sl.reach(mask, layers=2, q_len=37)
    report = sl.audit(Layered(mask), reached, length=37)
    assert report.ok, report
    assert report.coverage == 1.0
    narrower = reached & sl.window(left=3)
    assert not sl.audit(Layered(mask), narrower, length=37).ok


def test_layers_are_blind_to_padding() -> None:
    report = sl.audit(
        Layered(sl.causal()), [sl.audit.pad_invariant(), sl.audit.batch_invariant()], length=17
    )
    assert report.ok, report


def test_gpt_keeps_every_promise() -> None:
    config = GPTConfig(vocab=53, width=24, layers=2, heads=4, context=64)
    torch.manual_seed(0)
    contract = [sl.causal(), sl.audit.batch_invariant(), sl.audit.cache_parity()]
    report = sl.audit(GPT(config), contract, np.random.default_rng(0).integers(0, 53, (3, 29)))
    assert report.ok, report

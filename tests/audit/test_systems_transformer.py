"""The encoder-decoder keeps its promises: three attentions, each with a mask of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sightline as sl

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from sightline.models.seq2seq_masks import seq2seq_masks  # noqa: E402
from sightline.models.transformer import Transformer, TransformerConfig  # noqa: E402

CONFIG = TransformerConfig(
    vocab=31, layers=2, heads=3, width=24, hidden=40, context=64, dropout=0.0
)
READ, WRITTEN = 13, 10


class Model(nn.Module):
    """The model with given masks, or told of the source's padding by a keyword."""

    def __init__(self, **masks: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.model = Transformer(CONFIG)
        self.masks = masks

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return self.model(source, target, **self.masks)


class Padded(Model):
    """Told which source tokens are real."""

    def forward(
        self,
        source: torch.Tensor,
        target: torch.Tensor,
        source_attention_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        if source_attention_mask is None:
            source_attention_mask = torch.ones_like(source)
        batch = sl.Batch.from_padded(source, valid=source_attention_mask.long())
        return self.model(
            source,
            target,
            source_mask=batch.mask,
            memory_mask=self.masks.get("memory_mask", batch.mask),
            source_positions=batch.positions,
        )


def given(rows: int = 3) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        "source": random.integers(0, 31, (rows, READ)),
        "target": random.integers(0, 31, (rows, WRITTEN)),
    }


def test_the_target_sees_all_of_the_source_and_nothing_that_follows() -> None:
    contract = {"source": sl.everything(), "target": sl.causal()}
    report = sl.audit(Model(), contract, given())
    assert report.ok, report
    assert report.coverage == 1.0
    assert not sl.audit(Model(), {"target": sl.causal(strict=True)}, given()).ok
    blind = {"source": sl.prefix(READ - 1), "target": sl.causal()}
    assert not sl.audit(Model(), blind, given()).ok


def test_a_forgotten_target_mask_is_found() -> None:
    report = sl.audit(Model(target_mask=sl.everything()), {"target": sl.causal()}, given())
    assert not report.ok
    assert report.findings[0].measured == sl.everything()


def test_packed_pairs_do_not_see_each_other() -> None:
    source = sl.Batch.from_lengths([4, 6, 3], side="packed")
    target = sl.Batch.from_lengths([5, 2, 3], side="packed")
    masks = seq2seq_masks(source, target)
    contract = {"source": masks["memory_mask"], "target": masks["target_mask"]}
    report = sl.audit(Model(**masks), contract, given(1))
    assert report.ok, report
    # Without the third mask, which is the one that is forgotten, they do.
    leaking = sl.audit(Model(**{**masks, "memory_mask": sl.everything()}), contract, given(1))
    assert not leaking.ok


def test_padding_of_the_source_and_other_rows_change_nothing() -> None:
    contract = [sl.audit.pad_invariant(mask="source_attention_mask"), sl.audit.batch_invariant()]
    report = sl.audit(Padded(), contract, given())
    assert report.ok, report
    # nn.Transformer derives no memory mask from the source's either.
    forgotten = sl.audit(Padded(memory_mask=sl.everything()), contract, given())
    assert not forgotten.ok

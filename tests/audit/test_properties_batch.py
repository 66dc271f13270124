"""batch_invariant(): rows that are mixed are found, and where; rows that are not are silent."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import sightline as sl
from sightline.errors import InvalidArgument

BATCH, LENGTH, WIDTH, HEADS, VOCAB = 3, 11, 8, 2, 19


class Embedded(nn.Module):
    """Tokens to features, and one mixing of them."""

    def __init__(self, mix: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(VOCAB, WIDTH)
        self.mix = mix

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.mix(self.embed(tokens))


class Heads(nn.Module):
    """Cumulative sums in heads; ``wrong`` takes the batch axis for the heads' when merging."""

    def __init__(self, wrong: bool) -> None:
        super().__init__()
        self.wrong = wrong

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        heads = x.view(batch, length, HEADS, width // HEADS).transpose(1, 2).cumsum(2)
        if self.wrong:
            return heads.transpose(0, 1).reshape(batch, length, width)
        return heads.transpose(1, 2).reshape(batch, length, width)


class Routed(nn.Module):
    """One expert with room for some tokens: of each row, or (wrong) of the whole batch."""

    def __init__(self, wrong: bool) -> None:
        super().__init__()
        self.wrong = wrong
        self.expert = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        chosen = x[..., 0] > 0
        turn = chosen.flatten().cumsum(0).view(chosen.shape) if self.wrong else chosen.cumsum(1)
        return x + self.expert(x) * (chosen & (turn <= 6))[..., None]


class Norm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x.transpose(1, 2)).transpose(1, 2)


def audited(model: nn.Module, **options: Any) -> sl.audit.Report:
    return sl.audit(
        model, sl.audit.batch_invariant(), batch=BATCH, length=LENGTH, passes=20, **options
    )


@pytest.mark.parametrize("kind", [Heads, Routed])
def test_rows_that_are_mixed_are_found_with_their_module(kind: Any) -> None:
    (finding,) = audited(Embedded(kind(wrong=True))).findings
    assert finding.kind == "leak"
    assert finding.place is not None
    assert finding.place.module == "mix"
    assert "other rows" in finding.message
    assert "eval" in finding.conditions


@pytest.mark.parametrize("kind", [Heads, Routed])
def test_rows_that_are_not_are_silent(kind: Any) -> None:
    report = audited(Embedded(kind(wrong=False)))
    assert report.ok
    assert not report.notes


def test_a_batch_norm_counts_in_training_if_that_is_asked_for() -> None:
    assert audited(Embedded(Norm())).ok
    (finding,) = audited(Embedded(Norm()), conditions=["eval", "train"]).findings
    assert (finding.conditions, finding.held) == (("train",), ("eval",))
    assert finding.place is not None
    assert finding.place.module == "mix.norm"
    assert "batch norm" in finding.cause


class Masked(nn.Module):
    """Attention under a padding mask; ``wrong`` uses the first row's for all."""

    def __init__(self, wrong: bool) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.embed = nn.Embedding(VOCAB, WIDTH)
        self.wrong = wrong

    def forward(self, tokens: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        x = self.embed(tokens)
        seen = attention_mask.bool()[:1] if self.wrong else attention_mask.bool()
        scores = (x @ x.transpose(1, 2)).masked_fill(~seen[:, None], -torch.inf)
        return scores.softmax(-1) @ x


@pytest.mark.parametrize("wrong", [True, False])
def test_the_mask_of_one_row_for_all(wrong: bool) -> None:
    mask = torch.ones(BATCH, LENGTH, dtype=torch.long)
    mask[0, 7:] = 0
    mask[2, 4:] = 0
    tokens = torch.arange(BATCH * LENGTH).reshape(BATCH, LENGTH) % VOCAB
    inputs = {"tokens": tokens, "attention_mask": mask}
    report = sl.audit(Masked(wrong), sl.audit.batch_invariant(), inputs, passes=20)
    assert report.ok is not wrong


def test_one_row_cannot_be_compared() -> None:
    with pytest.raises(InvalidArgument, match="at least 2 rows"):
        sl.audit(Embedded(Norm()), sl.audit.batch_invariant(), batch=1, length=LENGTH)

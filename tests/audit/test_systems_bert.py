"""BERT keeps its promises: everything but padding is seen, documents in a row are apart."""

from __future__ import annotations

import pytest

import sightline as sl

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from sightline.models.bert import BERTConfig  # noqa: E402
from sightline.models.bert_heads import BERTForPreTraining  # noqa: E402

LENGTH = 19
CONFIG = BERTConfig(vocab=31, layers=2, heads=3, width=24, hidden=40, context=48, dropout=0.1)
DOCUMENTS = sl.documents(lengths=[7, 4, 9])


class Reading(nn.Module):
    """A BERT that is told of padding as other encoders are; an output for each token."""

    def __init__(self, mask: sl.Mask | None = None, told: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.model = BERTForPreTraining(CONFIG)
        self.mask, self.told = self.model.mask if mask is None else mask, told

    def forward(
        self, tokens: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        if attention_mask is None or not self.told:
            attention_mask = torch.ones_like(tokens)
        batch = sl.Batch.from_padded(tokens, valid=attention_mask.long())
        mask = batch.place(self.mask)
        return self.model(tokens, positions=batch.positions, mask=mask).mlm


class Pairing(Reading):
    """The same; what it says of the next sentence."""

    def forward(
        self, tokens: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        valid = torch.ones_like(tokens) if attention_mask is None else attention_mask.long()
        batch = sl.Batch.from_padded(tokens, valid=valid)
        columns = tokens.shape[1]
        first = batch.first(torch.arange(tokens.numel()).view(-1, columns))
        mask = batch.place(self.mask)
        return self.model(tokens, positions=batch.positions, mask=mask, first=first).nsp


class Packed(nn.Module):
    """Documents end to end in each row."""

    def __init__(self, apart: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.model = BERTForPreTraining(CONFIG)
        self.apart = apart

    def forward(
        self, tokens: torch.Tensor, document_ids: torch.Tensor | None = None
    ) -> torch.Tensor:
        mask = self.model.mask
        if document_ids is not None and self.apart:
            mask = sl.documents(ids=document_ids.numpy())
        return self.model(tokens, mask=mask).mlm


def test_everything_is_seen_and_nothing_less_is_promised() -> None:
    everything = sl.audit(Reading(), sl.everything(), length=LENGTH, batch=3)
    assert everything.ok, everything
    assert not sl.audit(Reading(), sl.causal(), length=LENGTH, batch=3).ok


@pytest.mark.parametrize("mask", [sl.window(left=2, right=1), sl.causal()], ids=repr)
def test_a_mask_shows_what_two_blocks_of_it_reach(mask: sl.Mask) -> None:
    reached = sl.reach(mask, layers=2, q_len=LENGTH)
    report = sl.audit(Reading(mask), reached, length=LENGTH, batch=3)
    assert report.ok, report
    assert report.coverage == 1.0
    assert not sl.audit(Reading(), reached, length=LENGTH, batch=3).ok


@pytest.mark.parametrize("kind", [Reading, Pairing])
def test_padding_and_other_rows_change_nothing(kind: type[Reading]) -> None:
    contract = [sl.audit.pad_invariant(), sl.audit.batch_invariant()]
    report = sl.audit(kind(), contract, length=LENGTH)
    assert report.ok, report


def test_a_model_that_is_not_told_of_padding_is_found_out() -> None:
    assert not sl.audit(Reading(told=False), sl.audit.pad_invariant(), length=LENGTH).ok


@pytest.mark.parametrize("apart", [True, False])
def test_documents_in_a_row_do_not_read_each_other(apart: bool) -> None:
    report = sl.audit(Packed(apart), sl.audit.isolated(DOCUMENTS))
    assert report.ok == apart, report

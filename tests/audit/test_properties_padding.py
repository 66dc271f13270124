"""pad_invariant(): padding that is read or counted is found on its side; right twins are silent."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import sightline as sl
from sightline.errors import InvalidArgument

BATCH, LENGTH, WIDTH, VOCAB = 4, 13, 8, 19
Tensor = torch.Tensor


class Base(nn.Module):
    def __init__(self, wrong: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(VOCAB, WIDTH)
        self.wrong = wrong


class Conv(Base):
    """A convolution that reaches over the edge; the right one sets padding to zero first."""

    def __init__(self, wrong: bool = False) -> None:
        super().__init__(wrong)
        self.conv = nn.Conv1d(WIDTH, WIDTH, 3, padding=1)

    def forward(self, tokens: Tensor, key_padding_mask: Tensor | None = None) -> Tensor:
        x = self.embed(tokens)
        if key_padding_mask is not None and not self.wrong:
            x = x.masked_fill(key_padding_mask[..., None], 0.0)
        return self.conv(x.transpose(1, 2)).transpose(1, 2)


class Mean(Base):
    """Pooled; the wrong one takes the mean of all positions."""

    def forward(self, tokens: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        x = self.embed(tokens)
        if attention_mask is None or self.wrong:
            return x.mean(1)
        real = attention_mask[..., None].to(x.dtype)
        return (x * real).sum(1) / real.sum(1)


class PaddedMean(Base):
    """Pooled; the wrong one sums the real positions and divides by the padded length."""

    def forward(self, tokens: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        x = self.embed(tokens)
        real = torch.ones(tokens.shape, dtype=x.dtype)
        if attention_mask is not None:
            real = attention_mask.to(x.dtype)
        total = x.shape[1] if self.wrong else real.sum(1, keepdim=True)
        return (x * real[..., None]).sum(1) / total


class SpecialId(Base):
    """Attention that goes by the mask, or (wrong) by the token 0 as well."""

    def forward(self, tokens: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        x = self.embed(tokens)
        seen = torch.ones_like(tokens) if attention_mask is None else attention_mask
        hidden = tokens == 0 if self.wrong else seen == 0
        scores = (x @ x.transpose(1, 2)).masked_fill(hidden[:, None], -torch.inf)
        return scores.softmax(-1) @ x


class Positions(Base):
    """Learned positions counted by columns, unless positions are given."""

    def __init__(self, wrong: bool = False) -> None:
        super().__init__(wrong)
        self.places = nn.Embedding(LENGTH, WIDTH)

    def forward(
        self,
        tokens: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> Tensor:
        seen = torch.ones_like(tokens) if attention_mask is None else attention_mask
        if position_ids is None:
            columns = torch.arange(tokens.shape[1]).expand(tokens.shape)
            position_ids = columns if self.wrong else (seen.cumsum(1) - 1).clamp(min=0)
        x = self.embed(tokens) + self.places(position_ids)
        scores = (x @ x.transpose(1, 2)).masked_fill(seen[:, None] == 0, -torch.inf)
        return scores.softmax(-1) @ x


class Recurrent(Base):
    """A recurrence that is read at the last position, or (wrong) at the padded end."""

    def __init__(self, wrong: bool = False) -> None:
        super().__init__(wrong)
        self.gru = nn.GRU(WIDTH, WIDTH, batch_first=True)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        states, _ = self.gru(self.embed(tokens))
        if self.wrong:
            return states[:, -1]
        return states[torch.arange(len(tokens)), lengths - 1]


def audited(model: nn.Module, **options: Any) -> sl.audit.Report:
    promise = sl.audit.pad_invariant(**options)
    return sl.audit(model, promise, batch=BATCH, length=LENGTH, vocab=VOCAB, passes=30)


@pytest.mark.parametrize("kind", [Conv, Mean, PaddedMean, SpecialId, Positions])
def test_right_models_are_silent_on_both_sides(kind: type[Base]) -> None:
    report = audited(kind())
    assert report.ok
    assert not report.notes


@pytest.mark.parametrize(
    ("kind", "module", "cause"), [(Conv, "conv", "convolution"), (Mean, "", "mean")]
)
def test_padding_that_is_read(kind: type[Base], module: str, cause: str) -> None:
    (finding,) = audited(kind(wrong=True)).findings
    assert finding.kind == "leak"
    assert "padding on the right" in finding.message
    assert finding.place is not None
    assert finding.place.module == module
    assert cause in finding.cause
    if kind is Conv:  # the last real token and the first of the padding
        assert finding.pairs[0].key == finding.pairs[0].query + 1


def test_padding_that_is_counted_differs_from_alone_though_its_contents_do_not_matter() -> None:
    (finding,) = audited(PaddedMean(wrong=True)).findings
    assert finding.kind == "parity"
    assert "mean" in finding.cause
    assert finding.place is not None
    assert finding.place.kind == "PaddedMean"
    assert finding.size > 0.01


def test_an_id_of_padding_that_the_model_knows_beside_the_mask() -> None:
    (finding,) = audited(SpecialId(wrong=True)).findings
    assert finding.kind == "leak"
    assert audited(SpecialId(wrong=True), other_ids=False).ok


def test_left_padding_without_positions_names_what_cures_it() -> None:
    assert audited(Positions(wrong=True), left=False).ok
    (finding,) = audited(Positions(wrong=True)).findings
    assert finding.kind == "parity"
    assert "padded on the left" in finding.message
    assert "position_ids" in finding.cause


def test_positions_among_the_inputs_go_with_their_tokens() -> None:
    tokens = torch.arange(BATCH * LENGTH).reshape(BATCH, LENGTH) % VOCAB
    places = torch.arange(LENGTH).repeat(BATCH, 1)
    inputs = {"tokens": tokens, "position_ids": places}
    clause = {"tokens": sl.audit.pad_invariant()}
    assert sl.audit(Positions(wrong=True), clause, inputs, passes=30).ok


@pytest.mark.parametrize("wrong", [True, False])
def test_a_model_that_is_told_lengths(wrong: bool) -> None:
    inputs = {
        "tokens": torch.arange(BATCH * LENGTH).reshape(BATCH, LENGTH) % VOCAB,
        "lengths": torch.tensor([13, 8, 10, 5]),
    }
    report = sl.audit(Recurrent(wrong), sl.audit.pad_invariant(), inputs, passes=30)
    assert report.ok is not wrong
    assert any("lengths cannot tell" in note for note in report.notes) or wrong


def test_padding_told_by_its_own_id() -> None:
    class Zeros(nn.Module):
        def __init__(self, wrong: bool) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.embed = nn.Embedding(VOCAB, WIDTH, padding_idx=0)
            self.wrong = wrong

        def forward(self, tokens: Tensor) -> Tensor:
            x = self.embed(tokens)
            real = (tokens != 0).sum(1, keepdim=True).to(x.dtype)
            return x.sum(1) / (x.shape[1] if self.wrong else real)

    promise = {"other_ids": False}
    assert audited(Zeros(wrong=False), **promise).ok
    assert [f.kind for f in audited(Zeros(wrong=True), **promise).findings] == ["parity"]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_torchs_own_encoder_is_silent() -> None:
    layer = nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=True)
    model = nn.TransformerEncoder(layer, 2)
    promise = sl.audit.pad_invariant()
    assert sl.audit(model, promise, batch=BATCH, length=LENGTH, passes=30).ok


def test_a_keyword_of_the_users_own_and_its_sense() -> None:
    class Own(Mean):
        def forward(self, tokens: Tensor, blank: Tensor | None = None) -> Tensor:
            return super().forward(tokens, None if blank is None else (~blank).long())

    assert audited(Own(), mask="blank", means="ignore").ok
    with pytest.raises(InvalidArgument, match="looked for attention_mask"):
        audited(Own())
    with pytest.raises(InvalidArgument, match="takes no 'empty'"):
        audited(Own(), mask="empty")


def test_too_few_positions() -> None:
    with pytest.raises(InvalidArgument, match="at least 5 positions"):
        sl.audit(Mean(), sl.audit.pad_invariant(), batch=3, length=4, vocab=VOCAB)

"""mask_sensitive() and backend_parity(): masks without effect, and paths that differ."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import sightline as sl
from sightline.errors import InvalidArgument

BATCH, LENGTH, WIDTH, VOCAB = 3, 11, 8, 19
Tensor = torch.Tensor


class Attention(nn.Module):
    """Causal attention under a padding mask.

    Faults: ``ignored`` never reads the mask; ``discarded`` throws the result of masked_fill away;
    ``weights`` and ``weights causal`` lose one of the masks where weights are asked for.
    """

    def __init__(self, fault: str = "") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(VOCAB, WIDTH)
        self.fault = fault

    def forward(
        self, tokens: Tensor, key_padding_mask: Tensor | None = None, need_weights: bool = False
    ) -> Any:
        x = self.embed(tokens)
        scores = x @ x.transpose(1, 2)
        hidden = torch.ones(scores.shape[1:], dtype=torch.bool).triu(1)[None]
        if need_weights and self.fault == "weights causal":
            hidden = torch.zeros_like(hidden)
        lost = self.fault == "ignored" or (need_weights and self.fault == "weights")
        if key_padding_mask is not None and not lost:
            if self.fault == "discarded":
                scores.masked_fill(key_padding_mask[:, None], -1e9)
            else:
                hidden = hidden | key_padding_mask[:, None]
        weights = scores.masked_fill(hidden, -1e9).softmax(-1)
        return (weights @ x, weights) if need_weights else (weights @ x,)


def audited(model: nn.Module, promise: Any, **options: Any) -> sl.audit.Report:
    return sl.audit(model, promise, batch=BATCH, length=LENGTH, passes=30, **options)


@pytest.mark.parametrize("fault", ["ignored", "discarded"])
def test_a_mask_that_has_no_effect(fault: str) -> None:
    (finding,) = audited(Attention(fault), sl.audit.mask_sensitive()).findings
    assert finding.kind == "blind"
    assert finding.input == "key_padding_mask"
    assert "has no effect" in finding.message
    assert finding.held == ()


def test_a_mask_that_is_lost_on_one_path() -> None:
    (finding,) = audited(Attention("weights"), sl.audit.mask_sensitive()).findings
    assert finding.conditions == ("need_weights=True",)
    assert "eval" in finding.held
    assert "lost on that path" in finding.cause


def test_a_mask_that_works_is_silent() -> None:
    report = audited(Attention(), sl.audit.mask_sensitive("key_padding_mask"))
    assert report.ok
    assert not report.notes


class Given(nn.Module):
    """Attention under a square mask that is always given."""

    def __init__(self, used: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(VOCAB, WIDTH)
        self.used = used

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        x = self.embed(tokens)
        scores = x @ x.transpose(1, 2)
        bias = mask if mask.is_floating_point() else torch.where(mask.bool(), 0.0, -1e9)
        return (scores + bias if self.used else scores).softmax(-1) @ x


SQUARE = torch.ones(LENGTH, LENGTH).tril()


@pytest.mark.parametrize(
    "mask", [SQUARE.bool(), SQUARE.long(), torch.where(SQUARE > 0, 0.0, -1e4)], ids=str
)
@pytest.mark.parametrize("used", [True, False])
def test_masks_among_the_inputs_are_turned_round(mask: Tensor, used: bool) -> None:
    tokens = torch.arange(BATCH * LENGTH).reshape(BATCH, LENGTH) % VOCAB
    inputs = {"tokens": tokens, "mask": mask}
    report = sl.audit(Given(used), sl.audit.mask_sensitive(), inputs, passes=20)
    assert [finding.kind for finding in report.findings] == ([] if used else ["blind"])


def test_where_no_mask_could_matter_nothing_is_said_to_be_blind() -> None:
    class Alone(nn.Embedding):
        def forward(self, tokens: Tensor, attention_mask: Tensor | None = None) -> Tensor:
            return super().forward(tokens)

    report = audited(Alone(VOCAB, WIDTH), sl.audit.mask_sensitive(), vocab=VOCAB)
    assert report.ok
    assert any("no mask could matter" in note for note in report.notes)


def test_masks_that_cannot_be_tested_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="no mask that could be tested"):
        audited(nn.Embedding(VOCAB, WIDTH), sl.audit.mask_sensitive())
    with pytest.raises(InvalidArgument, match="form is not known"):
        audited(Attention(), sl.audit.mask_sensitive("need_weights"))
    with pytest.raises(InvalidArgument, match="takes tokens"):
        audited(Attention(), sl.audit.mask_sensitive("other_mask"))


# -- backends -----------------------------------------------------------------------------------


def test_a_path_without_the_causal_mask() -> None:
    (finding,) = audited(Attention("weights causal"), sl.audit.backend_parity()).findings
    assert finding.kind == "parity"
    assert finding.conditions == ("need_weights=True",)
    assert "eval with gradients" in finding.held
    assert finding.pairs[0].query == 0


def test_a_path_that_loses_the_padding_shows_only_with_padding() -> None:
    (finding,) = audited(Attention("weights"), sl.audit.backend_parity()).findings
    assert "padded" in finding.conditions[0]
    assert "need_weights=True" in finding.conditions[0]
    assert "need_weights=True" in finding.held


def test_paths_that_agree_are_silent() -> None:
    report = audited(Attention(), sl.audit.backend_parity())
    assert report.ok
    assert not report.notes
    assert "key_padding_mask=left-padded, need_weights=True" in report.conditions


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize(
    "model",
    [
        nn.MultiheadAttention(WIDTH, 2, batch_first=True),
        nn.Transformer(WIDTH, 2, 1, 1, 16, batch_first=True),
    ],
    ids=lambda model: type(model).__name__,
)
def test_torchs_own_layers_are_silent(model: nn.Module) -> None:
    assert audited(model, sl.audit.backend_parity()).ok
    assert audited(model, sl.audit.mask_sensitive()).ok


def test_training_is_no_backend() -> None:
    model = nn.Sequential(nn.Embedding(VOCAB, WIDTH), nn.Dropout(0.5))
    report = audited(model, sl.audit.backend_parity(), conditions=["eval", "train"])
    assert report.ok
    assert any("dropout" in note for note in report.notes)

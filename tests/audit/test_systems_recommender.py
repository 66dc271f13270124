"""The recommenders keep what they promise, and leave out a mask: the audit says which."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sightline as sl

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from sightline.models.click_rnn import ClickRNN, ClickRNNConfig  # noqa: E402
from sightline.models.sasrec import SASRec, SASRecConfig, right_aligned  # noqa: E402

VOCAB, CONTEXT, LENGTH, USERS = 37, 23, 17, 5


def sasrec(**options: Any) -> SASRec:
    torch.manual_seed(0)
    return SASRec(
        SASRecConfig(**{"vocab": VOCAB, "heads": 2, "width": 12, "context": CONTEXT, **options})
    )


def clicks(pads: tuple[int, ...] = (0,) * USERS) -> np.ndarray:
    items = np.random.default_rng(1).integers(1, VOCAB, (USERS, LENGTH))
    items[np.arange(LENGTH) < np.array(pads)[:, None]] = 0
    return items


class Learning(nn.Module):
    """As in training: clicks go in, all but the last are read, all but the first are predicted."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, items: Any) -> Any:
        read = torch.cat([torch.zeros_like(items[:, :1]), items[:, :-1]], dim=1)
        return self.model.features(read)


@pytest.mark.parametrize("pads", [(0,) * USERS, (3, 0, 16, 9, 1)], ids=["full", "left padding"])
def test_no_click_sees_a_later_one(pads: tuple[int, ...]) -> None:
    contract = [sl.causal(), sl.audit.batch_invariant()]
    report = sl.audit(sasrec(), contract, {"items": clicks(pads)})
    assert report.ok, report
    assert report.coverage == 1.0


def test_the_label_of_a_step_is_hidden_from_its_own_prediction() -> None:
    report = sl.audit(
        Learning(sasrec()), sl.causal(strict=True), {"items": clicks((3, 0, 9, 2, 1))}
    )
    assert report.ok, report


def test_without_the_causal_mask_labels_are_seen() -> None:
    report = sl.audit(
        Learning(sasrec(causal_mask=False)), sl.causal(strict=True), {"items": clicks()}
    )
    assert not report.ok
    assert report.findings[0].measured is not None


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_recurrent_baselines(kind: Any) -> None:
    torch.manual_seed(0)
    model = ClickRNN(ClickRNNConfig(VOCAB, kind, width=12))
    contract = [
        sl.causal(),
        sl.audit.batch_invariant(),
        sl.audit.pad_invariant(other_ids=False),
    ]
    report = sl.audit(model, contract, {"items": clicks()})
    assert report.ok, report
    shifted = sl.audit(Learning(model), sl.causal(strict=True), {"items": clicks((2, 0, 5, 1, 1))})
    assert shifted.ok, shifted


def positions() -> np.ndarray:
    return np.broadcast_to(np.arange(CONTEXT - LENGTH, CONTEXT), (USERS, LENGTH)).copy()


def test_padding_changes_nothing() -> None:
    given = {"items": clicks(), "positions": positions()}
    report = sl.audit(sasrec(), sl.audit.pad_invariant(other_ids=False), given)
    assert report.ok, report


def test_on_the_right_padding_needs_positions() -> None:
    """Positions are counted from the right; without being told, only left padding keeps them."""
    report = sl.audit(sasrec(), sl.audit.pad_invariant(other_ids=False), {"items": clicks()})
    assert not report.ok
    assert all("right" in finding.message for finding in report.findings), report


def test_without_the_key_mask_padding_is_seen() -> None:
    given = {"items": clicks(), "positions": positions()}
    promise = sl.audit.pad_invariant(other_ids=False)
    assert not sl.audit(sasrec(key_mask=False), promise, given).ok


def test_packed_users_do_not_see_each_other() -> None:
    lengths = (5, 1, 9, 3)
    users = sl.Batch.from_lengths(lengths, side="packed")
    model = sasrec()

    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, items: Any) -> Any:
            aligned = right_aligned(users, CONTEXT).expand_as(items)
            return self.model(items, positions=aligned, mask=users.place(model.mask))

    items = np.random.default_rng(2).integers(1, VOCAB, (3, sum(lengths)))
    report = sl.audit(Packed(), sl.documents(lengths=lengths) & sl.causal(), {"items": items})
    assert report.ok, report

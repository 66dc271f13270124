"""The taggers keep what they promise, and say so where a mask is left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sightline as sl

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from sightline.models.tagger import Tagger, TaggerConfig  # noqa: E402
from sightline.models.tagger_words import COLUMNS  # noqa: E402

WORDS, BUCKETS, TAGS = 31, 43, 7


class Told(nn.Module):
    """A tagger over word numbers (each with a spelling of its own), told of padding."""

    def __init__(self, ignore_padding: bool = False, **options: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        sizes = {"width": 12, "heads": 2, "hidden": 20, "word_width": 6, "spelling_width": 4}
        self.model = Tagger(
            TaggerConfig(**{"words": WORDS, "tags": TAGS, "buckets": BUCKETS, **sizes, **options})
        )
        draw = np.random.default_rng(0)
        spelling = draw.integers(1, BUCKETS + 1, (WORDS, COLUMNS - 1))
        rows = np.concatenate([np.arange(WORDS)[:, None], spelling], axis=1)
        self.register_buffer("rows", torch.from_numpy(rows))
        self.ignore_padding = ignore_padding

    def forward(self, tokens: Any, attention_mask: Any = None) -> Any:
        if attention_mask is None or self.ignore_padding:
            return self.model(self.rows[tokens])
        positions = (attention_mask.cumsum(1) - 1).clamp(min=0)
        padding = sl.padding(valid=attention_mask.bool().numpy())
        mask = padding if self.model.mask == sl.everything() else self.model.mask & padding
        return self.model(self.rows[tokens], positions=positions, mask=mask)


def words(batch: int = 3, length: int = 11) -> np.ndarray:
    return np.random.default_rng(1).integers(2, WORDS, (batch, length))


RECURRENT = {"positions": "none"}
ALL = {
    "sinusoidal": {"positions": "sinusoidal"},
    "learned": {"positions": "learned"},
    "rotary": {"positions": "rotary"},
    "no positions": {"positions": "none"},
    "window": {"positions": "sinusoidal", "mask": sl.window(left=2, right=1)},
    "lstm": {"encoder": "lstm", **RECURRENT},
    "gru": {"encoder": "gru", **RECURRENT},
}


@pytest.mark.parametrize("name", ALL)
def test_neither_padding_nor_other_rows_are_seen(name: str) -> None:
    contract = [sl.audit.pad_invariant(), sl.audit.batch_invariant()]
    report = sl.audit(Told(**ALL[name]), contract, words())
    assert report.ok, report


@pytest.mark.parametrize("name", ["sinusoidal", "lstm", "gru"])
def test_the_audit_sees_a_tagger_that_reads_its_padding(name: str) -> None:
    report = sl.audit(Told(ignore_padding=True, **ALL[name]), sl.audit.pad_invariant(), words())
    assert not report.ok


@pytest.mark.parametrize("mask", [sl.causal(), sl.window(left=2, right=1)], ids=repr)
def test_two_layers_show_what_their_mask_lets_through(mask: sl.Mask) -> None:
    reached = sl.reach(mask, layers=2, q_len=17)
    report = sl.audit(Told(mask=mask), reached, words(length=17))
    assert report.ok, report
    assert report.coverage == 1.0
    assert not sl.audit(Told(), reached, words(length=17)).ok


@pytest.mark.parametrize("name", ["rotary", "lstm", "gru"])
def test_packed_sentences_do_not_see_each_other(name: str) -> None:
    lengths = (5, 1, 4)
    told = Told(**ALL[name])

    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.told = told

        def forward(self, tokens: Any) -> Any:
            own = sl.documents(lengths=lengths)
            return self.told.model(self.told.rows[tokens], mask=own)

    report = sl.audit(Packed(), sl.documents(lengths=lengths), words(length=sum(lengths)))
    assert report.ok, report

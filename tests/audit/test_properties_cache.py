"""cache_parity(): caches that are off by one are found, with where; right ones are silent."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import sightline as sl
from sightline.errors import InvalidArgument
from sightline.models.gpt import GPT, GPTConfig

BATCH, LENGTH, WIDTH, VOCAB, WINDOW = 3, 17, 8, 19, 6
Tensor = torch.Tensor


class Cached(nn.Module):
    """Rotary attention to the last WINDOW tokens, with keys, values and their positions kept.

    Faults: ``position`` numbers new tokens one too high; ``window`` drops a key too early from the
    cache; ``chunk`` masks a chunk as if nothing stood before it.
    """

    def __init__(self, fault: str = "") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(VOCAB, WIDTH)
        self.fault = fault

    def forward(self, tokens: Tensor, past: Any = None) -> tuple[Tensor, Any]:
        x = self.embed(tokens)
        start = 0 if past is None else past[2] + (self.fault == "position")
        places = torch.arange(start, start + tokens.shape[1])
        key = turned(x, places)
        keys, values, at = key, x, places
        if past is not None:
            keys, values = (torch.cat(pair, 1) for pair in ((past[0], key), (past[1], x)))
            at = torch.cat([torch.arange(past[2] - past[0].shape[1], past[2]), places])
        gap = places[:, None] - at[None, :]
        seen = (gap >= 0) & (gap < WINDOW)
        if self.fault == "chunk" and past is not None and len(places) > 1:
            seen = torch.ones_like(seen).tril()
        scores = (key @ keys.transpose(1, 2)).masked_fill(~seen, -torch.inf)
        kept = WINDOW - 2 if self.fault == "window" else WINDOW - 1
        return scores.softmax(-1) @ values, (
            keys[:, -kept:],
            values[:, -kept:],
            int(places[-1]) + 1,
        )


def turned(x: Tensor, places: Tensor) -> Tensor:
    """Return features turned by their positions."""
    angle = places.to(x.dtype)[:, None] * torch.arange(1, WIDTH // 2 + 1) / 7
    one, other = x[..., ::2], x[..., 1::2]
    return torch.cat(
        [one * angle.cos() - other * angle.sin(), one * angle.sin() + other * angle.cos()], -1
    )


def audited(model: nn.Module, *splits: int) -> sl.audit.Report:
    promise = sl.audit.cache_parity(splits)
    return sl.audit(model, promise, batch=BATCH, length=LENGTH, vocab=VOCAB, passes=20)


def test_a_right_cache_is_silent() -> None:
    report = audited(Cached())
    assert report.ok
    assert not report.notes
    assert audited(Cached(), 4, 6).ok


def test_positions_that_do_not_go_on_where_the_cache_ends() -> None:
    (finding,) = audited(Cached("position")).findings
    assert finding.kind == "parity"
    assert finding.pairs[0].query == LENGTH // 3
    assert "off by one" in finding.cause
    assert finding.place is not None
    assert finding.place.kind == "Cached"


def test_a_window_whose_cache_is_a_key_short() -> None:
    (finding,) = audited(Cached("window"), 2).findings
    assert finding.pairs[0].query == WINDOW - 1  # the first to miss a key
    assert "wrong slot" in finding.cause


def test_chunks_that_are_masked_from_the_top_left() -> None:
    (finding,) = audited(Cached("chunk")).findings
    assert "chunks of 5, 4 and 8" in finding.message
    assert "single tokens: no difference" in finding.message
    assert "top left" in finding.cause


def test_sightlines_own_gpt_is_silent() -> None:
    config = GPTConfig(vocab=VOCAB, layers=2, heads=2, width=WIDTH, context=LENGTH)
    torch.manual_seed(0)
    assert audited(GPT(config)).ok


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_a_state_is_a_cache_too(kind: Any) -> None:
    assert audited(kind(WIDTH, 5, batch_first=True)).ok
    (finding,) = audited(kind(WIDTH, 5, batch_first=True, bidirectional=True)).findings
    assert finding.kind == "parity"


def test_what_cannot_be_tested_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="no cache that is known"):
        audited(nn.Sequential(nn.Embedding(VOCAB, WIDTH)))
    with pytest.raises(InvalidArgument, match="23 positions in all"):
        audited(Cached(), 20, 3)

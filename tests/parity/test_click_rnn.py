"""models/click_rnn.py against torch's LSTM and GRU, each user alone; padding is inert."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

import sightline as sl  # noqa: E402
from sightline.errors import InvalidArgument, ShapeMismatch  # noqa: E402
from sightline.models.click_rnn import ClickRNN, ClickRNNConfig  # noqa: E402

VOCAB, WIDTH, LENGTHS = 19, 10, (3, 7, 1, 5)
each_kind = pytest.mark.parametrize("kind", ["gru", "lstm"])


def make(kind: Any) -> ClickRNN:
    torch.manual_seed(0)
    config = ClickRNNConfig(VOCAB, kind, layers=2, width=WIDTH, dropout=0.0)
    return ClickRNN(config).double().eval()


def users() -> list[Any]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(1, VOCAB, (length,), generator=generator) for length in LENGTHS]


@each_kind
@pytest.mark.parametrize("side", ["left", "right"])
def test_each_user_as_torch_has_it_alone(kind: str, side: Any) -> None:
    model = make(kind)
    theirs = (torch.nn.GRU if kind == "gru" else torch.nn.LSTM)(WIDTH, WIDTH, 2, batch_first=True)
    theirs = theirs.double()
    theirs.load_state_dict(model.recurrent.state_dict())
    laid = sl.Batch.from_sequences(users(), side=side)
    found = laid.split(model(laid.tokens))
    for user, scores in zip(users(), found, strict=True):
        table = model.item_embedding.weight
        expected = theirs(table[user][None])[0][0] @ table.T
        assert (scores[:, 1:] - expected[:, 1:]).abs().max() < 1e-12


@each_kind
def test_what_padding_holds_is_never_read(kind: str) -> None:
    model = make(kind)
    laid = sl.Batch.from_sequences(users(), side="left")
    candidates = laid.scatter(torch.randint(1, VOCAB, (laid.real, 2)))
    found = []
    for spoil in (False, True):
        if spoil:
            with torch.no_grad():
                model.item_embedding.weight[0] = torch.nan
        model.zero_grad()
        scores = model(laid.tokens, candidates=candidates)
        sl.nn.masked_loss_mean(scores.square(), laid.valid).backward()
        found.append([laid.gather(scores), *(each.grad.clone() for each in model.parameters())])
    for one, other in zip(*found, strict=True):
        assert one.isfinite().all()
        assert torch.equal(one, other)


def test_errors() -> None:
    for options in ({"kind": "rnn"}, {"width": 0}, {"dropout": -0.1}, {"vocab": 1}):
        with pytest.raises(InvalidArgument, match=r"got .*; wanted"):
            ClickRNNConfig(**{"vocab": VOCAB, **options})
    with pytest.raises(ShapeMismatch, match="got items"):
        make("gru")(torch.ones(2, 3))

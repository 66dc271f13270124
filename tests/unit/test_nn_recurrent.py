"""Masked LSTM and GRU: torch's own on packed sequences, and h_t = m f + (1 - m) h step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from padded_batches import (
    VALID,
    B,
    L,
    assert_padding_is_harmless,
    poisoned,
    sequences,
    valid_tables,
)
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import sightline as sl
from sightline.nn.recurrent import MaskedGRU, MaskedLSTM

IN, HIDDEN = 3, 6
KINDS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "lstm": (MaskedLSTM, nn.LSTM),
    "gru": (MaskedGRU, nn.GRU),
}
OPTIONS: list[dict[str, Any]] = [
    {},
    {"bidirectional": True},
    {"num_layers": 2, "bidirectional": True, "bias": False},
    {"num_layers": 3},
]
each_kind = pytest.mark.parametrize("kind", KINDS)
each_option = pytest.mark.parametrize("options", OPTIONS, ids=str)


def pair(kind: str, **options: Any) -> tuple[Any, Any]:
    """Return our layer and torch's with the same parameters, loaded both ways."""
    ours, theirs = (make(IN, HIDDEN, **options) for make in KINDS[kind])
    theirs.batch_first = True
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def parts_of(state: Any) -> list[torch.Tensor]:
    return list(state) if isinstance(state, tuple) else [state]


def start(layer: Any, batch: int, seed: int = 7) -> Any:
    """Draw a state to start from."""
    parts = layer.num_layers * (2 if layer.bidirectional else 1)
    out = layer.proj_size or HIDDEN
    if isinstance(layer, nn.LSTM):
        return sequences(parts, batch, out, seed=seed), sequences(
            parts, batch, HIDDEN, seed=seed + 1
        )
    return sequences(parts, batch, HIDDEN, seed=seed)


def row_of(state: Any, b: int) -> Any:
    one = tuple(part[:, b : b + 1].contiguous() for part in parts_of(state))
    return one if isinstance(state, tuple) else one[0]


def close(got: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(got, wanted, rtol=1e-6, atol=1e-6)


@each_kind
@each_option
def test_torchs_packed_sequences(kind: str, options: dict[str, Any]) -> None:
    """Outputs, states and all gradients, with right padding and lengths in no order."""
    ours, theirs = pair(kind, **options)
    lengths = [3, L, 1, 5]
    x, hx = sequences(B, L, IN), start(ours, B)
    given_x, our_x = (x.clone().requires_grad_() for _ in range(2))
    packed = pack_padded_sequence(given_x, torch.tensor(lengths), True, enforce_sorted=False)
    wanted, wanted_state = theirs(packed, hx)
    wanted, _ = pad_packed_sequence(wanted, batch_first=True)
    output, state = ours(our_x, sl.padding(lengths=lengths), hx)
    for got, want in zip(
        [output, *parts_of(state)], [wanted, *parts_of(wanted_state)], strict=True
    ):
        close(got, want)
    upstream = sequences(*wanted.shape, seed=9)
    (wanted * upstream).sum().backward()
    (output * upstream).sum().backward()
    for got, want in zip([our_x, *ours.parameters()], [given_x, *theirs.parameters()], strict=True):
        close(got.grad, want.grad)


@each_kind
@each_option
@given(valid=valid_tables(5))
@settings(max_examples=15)
def test_each_sequence_as_if_alone(kind: str, options: dict[str, Any], valid: torch.Tensor) -> None:
    ours, theirs = pair(kind, **options)
    x, hx = sequences(*valid.shape, IN), start(ours, len(valid))
    output, state = ours(poisoned(x, valid), valid, hx)
    assert not output[~valid].any()
    for b, real in enumerate(valid):
        if real.any():
            wanted, wanted_state = theirs(x[b : b + 1, real], row_of(hx, b))
            close(output[b, real], wanted[0])
        else:
            wanted_state = row_of(hx, b)
        for got, want in zip(parts_of(row_of(state, b)), parts_of(wanted_state), strict=True):
            close(got, want)


@each_kind
def test_the_formula_step_by_step(kind: str) -> None:
    """h_t = m_t f(x_t, h_{t-1}) + (1 - m_t) h_{t-1}, and outputs m_t h_t, with torch's cells."""
    ours, theirs = pair(kind)
    cell = (nn.LSTMCell if kind == "lstm" else nn.GRUCell)(IN, HIDDEN)
    cell.load_state_dict({name[:-3]: value for name, value in theirs.state_dict().items()})
    x, hx = sequences(B, L, IN), start(ours, B)
    h = [part[0] for part in parts_of(hx)]
    outputs = []
    for t in range(L):
        new = parts_of(cell(x[:, t], tuple(h) if kind == "lstm" else h[0]))
        m = VALID[:, t : t + 1].float()
        h = [m * after + (1 - m) * before for after, before in zip(new, h, strict=True)]
        outputs.append(m * h[0])
    output, state = ours(poisoned(x, VALID), VALID, hx)
    close(output, torch.stack(outputs, dim=1))
    for got, want in zip(parts_of(state), h, strict=True):
        close(got[0], want)


@each_kind
@each_option
def test_padding_is_harmless(kind: str, options: dict[str, Any]) -> None:
    ours, _ = pair(kind, **options)
    x = sequences(B, L, IN)
    parameters = list(ours.parameters())
    assert_padding_is_harmless(lambda x: ours(x, VALID)[0], x, VALID, parameters)
    assert_padding_is_harmless(
        lambda x: torch.cat([part.flatten() for part in parts_of(ours(x, VALID)[1])]), x, VALID
    )


@each_kind
@given(side=st.sampled_from(["left", "right"]), more=st.integers(1, 4))
@settings(max_examples=10)
def test_how_much_padding_there_is_changes_no_bit(kind: str, side: Any, more: int) -> None:
    ours, _ = pair(kind, bidirectional=True)
    x, lengths = sequences(B, L, IN), [L, 3, 5, 1]
    wanted, wanted_state = ours(x, sl.padding(lengths=lengths, side=side, total=L))
    before = more if side == "left" else 0
    longer = nn.functional.pad(x, (0, 0, before, more - before), value=torch.nan)
    output, state = ours(longer, sl.padding(lengths=lengths, side=side, total=L + more))
    assert torch.equal(output[:, before : before + L], wanted)
    for got, want in zip(parts_of(state), parts_of(wanted_state), strict=True):
        assert torch.equal(got, want)


@each_kind
def test_without_valid_all_is_real(kind: str) -> None:
    ours, theirs = pair(kind, num_layers=2)
    x = sequences(B, L, IN)
    output, state = ours(x)
    wanted, wanted_state = theirs(x)
    close(output, wanted)
    for got, want in zip(parts_of(state), parts_of(wanted_state), strict=True):
        close(got, want)


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_projected_outputs() -> None:
    ours, theirs = pair("lstm", proj_size=2, bidirectional=True)
    x, hx = sequences(B, L, IN), start(ours, B)
    output, state = ours(poisoned(x, VALID), VALID, hx)
    wanted, wanted_state = theirs(x[:1, VALID[0]], row_of(hx, 0))
    close(output[0, VALID[0]], wanted[0])
    for got, want in zip(parts_of(row_of(state, 0)), wanted_state, strict=True):
        close(got, want)


@each_kind
def test_dropout_between_layers_is_torchs(kind: str) -> None:
    ours, theirs = pair(kind, num_layers=2, dropout=0.5)
    x = sequences(B, L, IN)
    packed = pack_padded_sequence(x, torch.full((B,), L), True)
    torch.manual_seed(3)
    wanted, _ = pad_packed_sequence(theirs(packed)[0], batch_first=True)
    torch.manual_seed(3)
    close(ours(x)[0], wanted)


@each_kind
def test_nothing_real_at_all(kind: str) -> None:
    ours, _ = pair(kind, bidirectional=True)
    hx = start(ours, 2)
    x = torch.full((2, 4, IN), torch.nan, requires_grad=True)
    output, state = ours(x, sl.nothing(), hx)
    assert not output.any()
    for got, want in zip(parts_of(state), parts_of(hx), strict=True):
        assert torch.equal(got, want)
    output.sum().backward()
    for leaf in [x, *ours.parameters()]:
        assert not leaf.grad.any()
    for shape in ((2, 0, IN), (0, 4, IN)):
        output, _ = ours(torch.zeros(shape))
        assert output.shape == (*shape[:2], 2 * HIDDEN)


def test_refusals() -> None:
    lstm, gru, x = MaskedLSTM(IN, HIDDEN), MaskedGRU(IN, HIDDEN), torch.zeros(2, 4, IN)
    with pytest.raises(sl.ShapeMismatch, match=r"wanted \[batch, length, 3\]"):
        gru(torch.zeros(2, 4, 5))
    with pytest.raises(sl.ShapeMismatch, match=r"hx of shape \[1, 3, 6\]; wanted \[1, 2, 6\]"):
        gru(x, None, torch.zeros(1, 3, HIDDEN))
    with pytest.raises(sl.errors.InvalidArgument, match="hx of type tuple; wanted a tensor"):
        gru(x, None, (torch.zeros(1, 2, HIDDEN),))
    with pytest.raises(sl.errors.InvalidArgument, match=r"hx of type Tensor; wanted the pair"):
        lstm(x, None, torch.zeros(1, 2, HIDDEN))
    with pytest.raises(sl.ShapeMismatch, match=r"cell of shape \[1, 2, 5\]; wanted \[1, 2, 6\]"):
        lstm(x, None, (torch.zeros(1, 2, HIDDEN), torch.zeros(1, 2, 5)))

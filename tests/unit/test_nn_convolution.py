"""Masked convolution: torch's on each sequence and document alone; a stream equals the pass."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from padded_batches import VALID, B, D, L, assert_padding_is_harmless, poisoned, sequences
from torch import nn

import sightline as sl
from sightline.nn.convolution import CausalConv1d, MaskedConv1d

IN, OUT = 4, 6
SHAPES = [
    {"kernel_size": k, "dilation": d, "groups": g}
    for k, d, g in [(3, 1, 1), (4, 1, 2), (2, 3, 1), (1, 2, 2)]
]
# What torch says of its own layer where the kernel has an even width.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
CLASSES = {"same": MaskedConv1d, "causal": CausalConv1d}
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
each_side = pytest.mark.parametrize("side", CLASSES)


def convolutions(side: str, shape: dict[str, int], **options: Any) -> tuple[Any, Any]:
    """Return our layer and, with the same parameters, torch's, which takes [B, D, L]."""
    margins: Any = "same" if side == "same" else 0
    theirs = nn.Conv1d(IN, OUT, padding=margins, **shape)
    ours = CLASSES[side](IN, OUT, **shape, **options)
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    if side == "same":
        return ours, theirs
    return ours, lambda x: theirs(nn.functional.pad(x, (ours.reach, 0)))


def close(got: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(got, wanted, rtol=1e-6, atol=1e-6)


@each_side
@each_shape
def test_torchs_own_without_padding(side: str, shape: dict[str, int]) -> None:
    ours, theirs = convolutions(side, shape)
    x = sequences(B, L, IN)
    close(ours(x), theirs(x.transpose(1, 2)).transpose(1, 2))


@each_side
@each_shape
@pytest.mark.parametrize("padding", ["left", "right"])
def test_each_sequence_as_if_alone(side: str, shape: dict[str, int], padding: Any) -> None:
    ours, theirs = convolutions(side, shape)
    lengths = [3, L, 0, 5]
    valid = sl.padding(lengths=lengths, side=padding, total=L)
    real = torch.from_numpy(valid.dense(1, L)[:, 0, 0])
    x = sequences(B, L, IN)
    output = ours(poisoned(x, real), valid)
    assert output.shape == (B, L, OUT)
    assert not output[~real].any()
    for row, here, got in zip(x, real, output, strict=True):
        if here.any():
            close(got[here], theirs(row[here].T[None])[0].T)


@each_side
@each_shape
@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4), tail=st.integers(0, 3))
@settings(max_examples=15)
def test_each_document_as_if_alone(
    side: str, shape: dict[str, int], lengths: list[int], tail: int
) -> None:
    ours, theirs = convolutions(side, shape)
    total = sum(lengths)
    x = sequences(2, total + tail, IN)
    x[:, total:] = torch.nan
    output = ours(x, documents=sl.documents(lengths=lengths))
    assert not output[:, total:].any()
    wanted = [theirs(part.transpose(1, 2)) for part in x[:, :total].split(lengths, 1)]
    close(output[:, :total], torch.cat(wanted, 2).transpose(1, 2))


@each_side
def test_other_documents_are_harmless(side: str) -> None:
    """Whatever one document holds, no bit of another changes, nor of its gradient."""
    ours, _ = convolutions(side, SHAPES[0])
    ids = torch.tensor([0, 0, 1, 1, 1, 2, 2])
    own = (ids == 1).expand(B, L)

    def one_document(x: torch.Tensor) -> torch.Tensor:
        return ours(x, documents=ids)[:, 2:5]

    assert_padding_is_harmless(one_document, sequences(B, L, IN), own)


@each_side
def test_documents_and_padding_together(side: str) -> None:
    ours, theirs = convolutions(side, SHAPES[0])
    x = sequences(2, 6, IN)
    ids = torch.tensor([[3, 3, 3, 1, 1, 1], [0, 0, 0, 0, 0, 0]])
    valid = torch.tensor([[1, 1, 0, 1, 1, 1], [0, 1, 1, 1, 1, 0]]).bool()
    output = ours(poisoned(x, valid), valid, ids)
    pieces = [(0, 0, 2), (0, 3, 6), (1, 1, 5)]
    for row, start, stop in pieces:
        close(output[row, start:stop], theirs(x[row, start:stop].T[None])[0].T)
    assert not output[~valid].any()


@each_side
def test_a_document_in_two_parts_is_one(side: str) -> None:
    """What stands between them is not seen; the places of the kernel stay where they are."""
    ours, theirs = convolutions(side, {"kernel_size": 3})
    x = sequences(1, 5, IN)
    output = ours(x, documents=[0, 1, 0, 0, 0])
    gone = x.clone()
    gone[:, 1] = 0.0
    close(output[:, 2:], theirs(gone.transpose(1, 2)).transpose(1, 2)[:, 2:])


@each_side
@pytest.mark.parametrize("documents", [None, [0, 0, 1, 1, 1, 2, 2]])
def test_padding_is_harmless(side: str, documents: Any) -> None:
    ours, _ = convolutions(side, SHAPES[1])
    x = sequences(B, L, IN)
    parameters = list(ours.parameters())
    assert_padding_is_harmless(lambda x: ours(x, VALID, documents), x, VALID, parameters)


@each_side
@pytest.mark.parametrize("documents", [None, [0, 0, 1, 1, 1, 2, 2]])
def test_gradients_are_right(side: str, documents: Any) -> None:
    ours, _ = convolutions(side, SHAPES[1])
    x = sequences(B, L, IN).double().requires_grad_()
    ours.double()
    assert torch.autograd.gradcheck(lambda x: ours(x, VALID, documents), x, fast_mode=True)


@each_shape
def test_the_future_is_not_seen(shape: dict[str, int]) -> None:
    ours, _ = convolutions("causal", shape)
    x = sequences(B, L, IN)
    changed = x.clone()
    changed[:, 4:] = 3e38
    assert torch.equal(ours(x)[:, :4], ours(changed)[:, :4])


def test_channels_before_time() -> None:
    first, last = (convolutions("causal", SHAPES[0], layout=layout)[0] for layout in ("BDL", "BLD"))
    first.load_state_dict(last.state_dict())
    x = sequences(B, L, IN)
    assert torch.equal(first(x.transpose(1, 2), VALID).transpose(1, 2), last(x, VALID))
    streamed, state = first.stream(x.transpose(1, 2), None, VALID)
    wanted, wanted_state = last.stream(x, None, VALID)
    assert torch.equal(streamed.transpose(1, 2), wanted)
    assert torch.equal(state, wanted_state)


# -- piece by piece ---------------------------------------------------------------------------


@each_shape
@given(pieces=st.lists(st.integers(0, 4), min_size=1, max_size=5))
@settings(max_examples=15)
def test_streams_equal_the_pass(shape: dict[str, int], pieces: list[int]) -> None:
    ours, _ = convolutions("causal", shape)
    x = sequences(3, sum(pieces), IN)
    state, outputs = None, []
    for part in x.split(pieces, dim=1):
        output, state = ours.stream(part, state)
        outputs.append(output)
    close(torch.cat(outputs, dim=1), ours(x))


@pytest.mark.parametrize("padding", ["left", "right"])
def test_streams_of_rows_of_different_lengths(padding: Any) -> None:
    """As with a cache: pieces of another number of tokens in each row, each padded by itself."""
    ours, theirs = convolutions("causal", {"kernel_size": 3, "dilation": 2})
    counts = torch.tensor([[3, 1, 0, 2], [0, 1, 2, 2], [1, 1, 1, 3]])
    x = [sequences(int(n), IN, seed=b) for b, n in enumerate(counts.sum(0))]
    given_so_far, state, outputs = [0] * 4, None, [[] for _ in x]
    for step in counts:
        longest = int(step.max())
        valid = sl.padding(lengths=step.tolist(), side=padding, total=longest)
        real = torch.from_numpy(valid.dense(1, longest)[:, 0, 0])
        piece = torch.full((4, longest, IN), torch.nan)
        for b, n in enumerate(step.tolist()):
            piece[b, real[b]] = x[b][given_so_far[b] : given_so_far[b] + n]
            given_so_far[b] += n
        output, state = ours.stream(piece, state, valid)
        assert not output[~real].any()
        for b, own in enumerate(outputs):
            own.append(output[b, real[b]])
    for row, own in zip(x, outputs, strict=True):
        close(torch.cat(own), theirs(row.T[None])[0].T)


def test_streams_of_padding_are_harmless() -> None:
    ours, _ = convolutions("causal", SHAPES[0])
    x = sequences(B, L, IN)
    assert_padding_is_harmless(lambda x: ours.stream(x, None, VALID)[0], x, VALID)


# -- refusals ---------------------------------------------------------------------------------


def test_refusals() -> None:
    conv = CausalConv1d(IN, OUT, 3)
    with pytest.raises(sl.ShapeMismatch, match=r"shape \[2, 3, 5\]; wanted \[batch, length, 4\]"):
        conv(torch.zeros(2, 3, 5))
    with pytest.raises(sl.ShapeMismatch, match=r"wanted \[batch, 4, length\]"):
        MaskedConv1d(IN, OUT, 3, layout="BDL")(torch.zeros(2, 3, IN))
    with pytest.raises(sl.ShapeMismatch, match=r"state of shape \[2, 1, 4\]; wanted \[2, 2, 4\]"):
        conv.stream(torch.zeros(2, 3, IN), torch.zeros(2, 1, IN))
    with pytest.raises(sl.errors.InvalidArgument, match="state of type int"):
        conv.stream(torch.zeros(2, 3, IN), 0)  # type: ignore[arg-type]
    with pytest.raises(sl.InvalidMask, match=r"wanted sl\.documents"):
        conv(torch.zeros(2, 3, IN), documents=sl.causal())


@each_side
@pytest.mark.parametrize("documents", [None, torch.zeros(3, 0).int()])
def test_no_positions_at_all(side: str, documents: Any) -> None:
    assert CLASSES[side](IN, OUT, 3)(torch.zeros(3, 0, IN), None, documents).shape == (3, 0, OUT)


def test_reach_is_counted_right() -> None:
    for (k, d), wanted in zip(itertools.product((1, 3), (1, 4)), (0, 0, 2, 8), strict=True):
        assert CausalConv1d(D, D, k, d).back == wanted
        assert MaskedConv1d(D, D, k, d).back == wanted // 2

"""Recurrent layers over padded sequences: padding leaves the state as it is, and gives 0.

``MaskedLSTM`` and ``MaskedGRU`` are torch's layers, batch first, with ``valid`` (see valid.py) in
place of packing; losses over real positions stand in losses.py.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from sightline.engines.shared import refuse_shared
from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.nn.layout import read_features
from sightline.nn.valid import clear


class MaskedLSTM(nn.LSTM):
    """``torch.nn.LSTM`` that passes over padding, wherever in a sequence it stands.

    At a position that is not real the state stays: ``h_t = m_t * f(x_t, h_{t-1}) + (1 - m_t) *
    h_{t-1}``, the same for the cell, and the output is 0. The backward direction starts at each
    sequence's own last real position. So a sequence gives what it gives alone, without its
    padding, as ``pack_padded_sequence`` has it, for padding on the left and inside as well.
    Parameters, arguments and ``state_dict`` are those of ``torch.nn.LSTM`` with batch_first=True.

    Args:
        input_size: features of a position.
        hidden_size: features of the state.
        num_layers: how many layers stand on top of each other.
        bias: whether there are learned shifts.
        dropout: the rate between layers, in training.
        bidirectional: run backwards as well.
        proj_size: features that the output is projected to; 0 for no projection.

    >>> import sightline as sl
    >>> lstm = MaskedLSTM(2, 3)
    >>> x = torch.randn(1, 4, 2)
    >>> alone, (last, _) = lstm(x[:, 1:3])
    >>> padded, (same, _) = lstm(x, torch.tensor([[False, True, True, False]]))
    >>> torch.equal(padded[:, 1:3], alone), torch.equal(same, last), bool(padded[:, 3].any())
    (True, True, False)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers=num_layers,
            bias=bias,
            batch_first=True,
            dropout=dropout,
            bidirectional=bidirectional,
            proj_size=proj_size,
            device=device,
            dtype=dtype,
        )

    def forward(
        self,
        input: torch.Tensor,
        valid: Any = None,
        hx: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """Return the outputs, and the state after each sequence's last real position.

        Args:
            input: floats [B, L, input_size].
            valid: True for a real position [B, L], or a padding mask; None where all are real.
            hx: the state to start from: hidden [layers * directions, B, output size] and cell
                [layers * directions, B, hidden_size]; None for zeros.

        Returns:
            Outputs [B, L, directions * output size], 0 at padding; the pair (hidden, cell) as
            ``hx``, for a sequence without a real position the one that it started from.

        Raises:
            ShapeMismatch: sizes that do not fit.
            InvalidArgument: ``input`` not floating, ``valid`` not bools, ``hx`` no pair.
            InvalidMask: ``valid`` is a mask that asks more than the key.
        """
        refuse_shared("sl.nn.MaskedLSTM")
        x, real = read_features(input, valid, self.input_size, "BLD")
        parts = self.num_layers * self._directions
        out = self.proj_size or self.hidden_size
        if hx is None:
            hidden, cell = (x.new_zeros(parts, len(x), size) for size in (out, self.hidden_size))
        elif isinstance(hx, tuple) and len(hx) == 2:
            hidden = _check_state("hidden", hx[0], (parts, len(x), out))
            cell = _check_state("cell", hx[1], (parts, len(x), self.hidden_size))
        else:
            raise InvalidArgument(
                f"got hx of type {type(hx).__name__}; wanted the pair (hidden, cell) that the last "
                "call returned, or None for zeros."
            )
        if 0 in real.shape:
            return x.new_zeros(*real.shape, self._directions * out), (hidden, cell)
        steps = _RealSteps(x, real)
        output, state = super().forward(steps.packed(), (hidden, cell))
        return steps.spread(output), (steps.keep(hidden, state[0]), steps.keep(cell, state[1]))

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1


class MaskedGRU(nn.GRU):
    """``torch.nn.GRU`` that passes over padding, wherever in a sequence it stands.

    What ``MaskedLSTM`` says holds here too; a state is one tensor. Parameters, arguments and
    ``state_dict`` are those of ``torch.nn.GRU`` with batch_first=True.

    Args:
        input_size: features of a position.
        hidden_size: features of the state.
        num_layers: how many layers stand on top of each other.
        bias: whether there are learned shifts.
        dropout: the rate between layers, in training.
        bidirectional: run backwards as well.

    >>> import sightline as sl
    >>> gru = MaskedGRU(2, 3, bidirectional=True)
    >>> output, last = gru(torch.randn(2, 4, 2), sl.padding(lengths=[3, 1]))
    >>> output.shape, last.shape, bool(output[1, 1:].any())
    (torch.Size([2, 4, 6]), torch.Size([2, 2, 3]), False)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers=num_layers,
            bias=bias,
            batch_first=True,
            dropout=dropout,
            bidirectional=bidirectional,
            device=device,
            dtype=dtype,
        )

    def forward(
        self, input: torch.Tensor, valid: Any = None, hx: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the outputs, and the state after each sequence's last real position.

        Args:
            input: floats [B, L, input_size].
            valid: True for a real position [B, L], or a padding mask; None where all are real.
            hx: the state to start from, [layers * directions, B, hidden_size]; None for zeros.

        Returns:
            Outputs [B, L, directions * hidden_size], 0 at padding; the state, as ``hx``, for a
            sequence without a real position the one that it started from.

        Raises:
            ShapeMismatch: sizes that do not fit.
            InvalidArgument: ``input`` not floating, ``valid`` not bools, ``hx`` no tensor.
            InvalidMask: ``valid`` is a mask that asks more than the key.
        """
        refuse_shared("sl.nn.MaskedGRU")
        x, real = read_features(input, valid, self.input_size, "BLD")
        directions = 2 if self.bidirectional else 1
        shape = (self.num_layers * directions, len(x), self.hidden_size)
        hidden = x.new_zeros(shape) if hx is None else _check_state("hx", hx, shape)
        if 0 in real.shape:
            return x.new_zeros(*real.shape, directions * self.hidden_size), hidden
        steps = _RealSteps(x, real)
        output, state = super().forward(steps.packed(), hidden)
        return steps.spread(output), steps.keep(hidden, state)


class _RealSteps:
    """The real positions of each sequence side by side, run as a packed sequence, and back.

    To leave the state as it is at a position is to leave the position out: what remains is what
    ``pack_padded_sequence`` takes. A sequence without any is run for one step, which is dropped,
    since a packed one may not be empty; so even then gradients are there, and 0.
    """

    def __init__(self, x: torch.Tensor, real: torch.Tensor) -> None:
        self._x = clear(x, real)
        self._real = real
        self._order = real.int().argsort(dim=1, descending=True, stable=True)[..., None]

    def packed(self) -> PackedSequence:
        """Return the real positions, packed."""
        side_by_side = self._x.gather(1, self._order.expand_as(self._x))
        lengths = self._real.sum(dim=1).clamp(min=1).cpu()
        return pack_padded_sequence(side_by_side, lengths, batch_first=True, enforce_sorted=False)

    def spread(self, output: PackedSequence) -> torch.Tensor:
        """Return packed outputs where their positions stand, [B, L, features]; 0 elsewhere."""
        length = self._real.shape[1]
        padded, _ = pad_packed_sequence(output, batch_first=True, total_length=length)
        there = self._order.expand_as(padded)
        return clear(torch.zeros_like(padded).scatter(1, there, padded), self._real)

    def keep(self, old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        """Return the ``new`` state [parts, B, features], the ``old`` one where nothing was run."""
        return torch.where(self._real.any(dim=1)[None, :, None], new, old)


def _check_state(name: str, state: Any, shape: tuple[int, ...]) -> torch.Tensor:
    if not isinstance(state, torch.Tensor):
        raise InvalidArgument(
            f"got {name} of type {type(state).__name__}; wanted a tensor {list(shape)}, as the "
            "last call returned it, or None for zeros."
        )
    if state.shape != shape:
        raise ShapeMismatch(
            f"got {name} of shape {list(state.shape)}; wanted {list(shape)} [layers * directions, "
            "batch, features], as the last call returned it."
        )
    return state


__all__ = ["MaskedGRU", "MaskedLSTM"]

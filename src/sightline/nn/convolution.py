"""Convolution over time that knows where sequences end: padding and other documents are zeros.

``MaskedConv1d`` looks both ways, ``CausalConv1d`` back only, in one pass or piece by piece. Both
load the ``state_dict`` of ``torch.nn.Conv1d``. ``valid`` and ``documents`` are read in valid.py.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from sightline.engines.shared import refuse_shared
from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.nn.layout import Layout, check_layout, laid_out, read_features
from sightline.nn.valid import clear, read_documents


class MaskedConv1d(nn.Conv1d):
    """A convolution over time that keeps the length and for which padding is zeros.

    Equal to ``torch.nn.Conv1d(..., padding="same")`` on each sequence alone, and on each document
    alone where several are packed into one row: the kernel crosses neither boundary.

    Args:
        in_channels: features of a position, D.
        out_channels: features that come out; groups divides both.
        kernel_size: how many positions the kernel looks at.
        dilation: how far these are apart.
        groups: into how many groups the features are split, each with kernels of its own.
        bias: whether there is a learned shift.
        layout: "BLD" for [B, L, D], "BDL" for the [B, D, L] of torch's layer.

    >>> import sightline as sl
    >>> conv = MaskedConv1d(1, 1, 3, bias=False)
    >>> _ = conv.weight.data.fill_(1.0)
    >>> x = torch.tensor([1.0, 2.0, 4.0, torch.nan]).view(1, 4, 1)
    >>> conv(x, sl.padding(lengths=[3])).flatten().tolist()
    [3.0, 7.0, 6.0, 0.0]
    >>> conv(x, sl.padding(lengths=[3]), documents=sl.documents(lengths=[1, 2])).flatten().tolist()
    [1.0, 6.0, 6.0, 0.0]
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        layout: Layout = "BLD",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            dilation=dilation,
            groups=groups,
            bias=bias,
            device=device,
            dtype=dtype,
        )
        self.layout: Layout = check_layout(layout)

    @property
    def reach(self) -> int:
        """How many positions lie between the first that the kernel looks at and the last."""
        return self.dilation[0] * (self.kernel_size[0] - 1)

    @property
    def back(self) -> int:
        """How many positions back the kernel looks; the others of ``reach`` lie ahead."""
        return self.reach // 2  # as torch's padding="same" has it

    def forward(
        self, input: torch.Tensor, valid: Any = None, documents: Any = None
    ) -> torch.Tensor:
        """Return the convolution at every position, of ``input``'s length; 0 at padding.

        Args:
            input: floats [B, L, in_channels] ([B, in_channels, L] with layout "BDL").
            valid: True for a real position [B, L], or a padding mask; None where all are real.
            documents: ``sl.documents(...)``, or the document of each position, [L] or [B, L],
                equal numbers for one; a position of none (negative) counts as padding. None
                where a row is one document.

        Raises:
            ShapeMismatch: sizes that do not fit.
            InvalidArgument: ``input`` not floating, ``valid`` not bools, ids not integers.
            InvalidMask: a mask of another kind.
        """
        refuse_shared("sl.nn.MaskedConv1d")
        x, real = read_features(input, valid, self.in_channels, self.layout)
        if documents is None:
            x = functional.pad(clear(x, real).transpose(1, 2), self._margins)
            return laid_out(clear(self._convolve(x), real), self.layout)
        ids = read_documents(documents, len(x), x.shape[1], x.device)
        real = real & (ids >= 0)
        if not x.shape[1]:
            return laid_out(x.new_zeros(len(x), 0, self.out_channels), self.layout)
        columns = self._columns(clear(x, real), ids)
        weight = self.weight.reshape(self.out_channels, -1, 1)
        output = functional.conv1d(columns, weight, self.bias, groups=self.groups)
        return laid_out(clear(output.transpose(1, 2), real), self.layout)

    @property
    def _margins(self) -> tuple[int, int]:
        return self.back, self.reach - self.back

    def _convolve(self, x: torch.Tensor) -> torch.Tensor:
        """Return the convolution of ``x`` [B, D, reach + L], margins included, as [B, L, D]."""
        if x.shape[2] <= self.reach:  # no position at all, which torch refuses
            return x.new_zeros(len(x), 0, self.out_channels)
        stride, padding = 1, 0
        arguments = (self.weight, self.bias, stride, padding, self.dilation, self.groups)
        return functional.conv1d(x, *arguments).transpose(1, 2)

    def _columns(self, x: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Return what each kernel sees, [B, D * kernel_size, L]; 0 of other documents."""
        around = functional.pad(x.transpose(1, 2), self._margins)
        # At the margins nothing stands, so that what their ids are does not matter.
        their = functional.pad(ids, self._margins, value=-1)
        around, their = (
            t.unfold(-1, self.reach + 1, 1)[..., :: self.dilation[0]] for t in (around, their)
        )
        same = (their == ids[..., None])[:, None]
        seen = torch.where(same, around, x.new_zeros(()))  # [B, D, L, kernel_size]
        return seen.transpose(2, 3).flatten(1, 2)


class CausalConv1d(MaskedConv1d):
    """A convolution over time that looks at a position and those before it.

    Equal to ``torch.nn.Conv1d`` on a sequence with ``dilation * (kernel_size - 1)`` zeros put in
    front. Arguments are those of ``MaskedConv1d``. ``stream`` gives the same piece by piece.

    Source: van den Oord et al. 2016, "WaveNet", section 2.1; as a layer of queries and keys: Li
    et al. 2019 (arXiv 1907.00235), section 4.1.

    >>> conv = CausalConv1d(1, 1, 2, bias=False)
    >>> _ = conv.weight.data.fill_(1.0)
    >>> x = torch.tensor([1.0, 2.0, 4.0]).view(1, 3, 1)
    >>> conv(x).flatten().tolist()
    [1.0, 3.0, 6.0]
    >>> first, state = conv.stream(x[:, :2])
    >>> conv.stream(x[:, 2:], state)[0].flatten().tolist()
    [6.0]
    """

    @property
    def back(self) -> int:
        """How many positions back the kernel looks: all of ``reach``."""
        return self.reach

    def stream(
        self, input: torch.Tensor, state: torch.Tensor | None = None, valid: Any = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the convolution at the next positions, and the state to go on from.

        Args:
            input: the next positions, floats [B, T, in_channels] (or as layout says), T >= 0.
            state: what the last call returned; None at the start.
            valid: True for a real position [B, T], or a padding mask, where rows have different
                numbers of new positions; None where all are real. The stream of a row is made
                of its real positions, wherever padding stands.

        Returns:
            Output [B, T, out_channels] (or as layout says), 0 at padding; state [B, reach,
            in_channels], a new tensor.

        Raises:
            ShapeMismatch, InvalidArgument, InvalidMask: as for ``forward``; a state of
                another shape, or no tensor.
        """
        refuse_shared("sl.nn.CausalConv1d")
        x, real = read_features(input, valid, self.in_channels, self.layout)
        state = self._check_state(state, x)
        if valid is None:  # nothing to sort, which costs more than the convolution of one position
            given = torch.cat([state, x], dim=1)
            output = laid_out(self._convolve(given.transpose(1, 2)), self.layout)
            return output, given[:, x.shape[1] :].clone()
        # Real positions first, so that they follow the state without a gap.
        order = real.int().argsort(dim=1, descending=True, stable=True)[..., None]
        here = order.expand_as(x)
        given = torch.cat([state, clear(x, real).gather(1, here)], dim=1)
        output = self._convolve(given.transpose(1, 2))
        there = order.expand_as(output)
        output = clear(torch.zeros_like(output).scatter(1, there, output), real)
        last = torch.arange(self.reach, device=x.device) + real.sum(dim=1, keepdim=True)
        kept = given.gather(1, last[..., None].expand(-1, -1, self.in_channels))
        return laid_out(output, self.layout), kept

    def _check_state(self, state: Any, x: torch.Tensor) -> torch.Tensor:
        shape = (len(x), self.reach, self.in_channels)
        if state is None:
            return x.new_zeros(shape)
        if not isinstance(state, torch.Tensor):
            raise InvalidArgument(
                f"got a state of type {type(state).__name__}; wanted the tensor that the last "
                "call of stream returned, or None at the start."
            )
        if state.shape != shape:
            raise ShapeMismatch(
                f"got a state of shape {list(state.shape)}; wanted {list(shape)} [batch, reach, "
                "in_channels]; pass what the last call of this layer's stream returned."
            )
        return state


__all__ = ["CausalConv1d", "MaskedConv1d"]

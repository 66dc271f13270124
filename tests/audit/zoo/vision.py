"""One block of Swin over a grid of tokens: roll, windows, the mask of what the roll brought round.

Tokens come as [B, H * W, features], row by row; the grid's sides, the window and the shift differ.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import sightline as sl

from .fault import Fault, Sees
from .parts import BATCH, WIDTH, merge_heads, numbers, seeded, split_heads

GRID, WINDOW, SHIFT = (4, 6), 2, 1
INF = float("-inf")


def windows(x: Tensor, size: int) -> Tensor:
    """[B, H, W, D] -> [B, number of windows, size * size, D]."""
    tiles = x.unflatten(2, (-1, size)).unflatten(1, (-1, size)).transpose(2, 3)
    return tiles.flatten(3, 4).flatten(1, 2)


def grid(x: Tensor, height: int, size: int) -> Tensor:
    """Undo `windows`."""
    rows = height // size
    tiles = x.unflatten(1, (rows, -1)).unflatten(3, (size, size)).transpose(2, 3)
    return tiles.flatten(3, 4).flatten(1, 2)


class Shifted(nn.Module):
    """Attention in shifted windows."""

    shift = SHIFT
    grid = GRID
    window = WINDOW

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)

    def regions(self, height: int, width: int) -> Tensor:
        """Return which region a place of the rolled grid came from, [H, W]."""
        row = self.slices(torch.arange(height), height)
        column = self.slices(torch.arange(width), width)
        return 3 * row[:, None] + column[None, :]

    def slices(self, place: Tensor, size: int) -> Tensor:
        return (place >= size - self.window).long() + (place >= size - self.shift).long()

    def allowed(self, height: int, width: int) -> Tensor:
        """Return who sees whom inside each window, [number of windows, n, n]."""
        regions = windows(self.regions(height, width)[None, :, :, None], self.window)[0, :, :, 0]
        return regions[:, :, None] == regions[:, None, :]

    def rolled(self, x: Tensor) -> Tensor:
        return x.roll((-self.shift, -self.shift), dims=(1, 2))

    def back(self, x: Tensor) -> Tensor:
        return x.roll((self.shift, self.shift), dims=(1, 2))

    def prepared(self, x: Tensor) -> Tensor:
        return self.rolled(x)

    def forward(self, x: Tensor) -> Tensor:
        height, width = self.grid
        prepared = self.prepared(x.unflatten(1, (height, width)))
        parts = windows(self.qkv(prepared), self.window)
        query, key, value = (split_heads(part.flatten(0, 1)) for part in parts.chunk(3, dim=-1))
        scores = query @ key.mT / query.shape[-1] ** 0.5
        allowed = self.allowed(*prepared.shape[1:3]).repeat(len(x), 1, 1)[:, None]
        mixed = merge_heads(scores.masked_fill(~allowed, INF).softmax(-1) @ value)
        mixed = grid(mixed.unflatten(0, (len(x), -1)), prepared.shape[1], self.window)
        return self.out(self.finished(mixed)).flatten(1, 2)

    def finished(self, x: Tensor) -> Tensor:
        return self.back(x)


class NoMask(Shifted):
    """What the roll brought round is a neighbour like any other."""

    def allowed(self, height: int, width: int) -> Tensor:
        return torch.ones_like(super().allowed(height, width))


class MaskOfOtherSign(Shifted):
    """Regions are cut at the beginning of the grid, where the other roll would put them."""

    def slices(self, place: Tensor, size: int) -> Tensor:
        return (place < self.window).long() + (place < self.shift).long()


class RolledTheOtherWay(Shifted):
    """Rolls forwards; the mask is that of rolling back."""

    def rolled(self, x: Tensor) -> Tensor:
        return super().back(x)

    def back(self, x: Tensor) -> Tensor:
        return super().rolled(x)


class NotRolledBack(Shifted):
    """The result stays where the roll put it."""

    def finished(self, x: Tensor) -> Tensor:
        return x


class AxesSwapped(Shifted):
    """The mask is made for width x height."""

    def allowed(self, height: int, width: int) -> Tensor:
        return super().allowed(width, height)


class OddGrid(Shifted):
    """A grid that windows do not divide: zeros are put at its end, and then it is rolled."""

    grid = (5, 7)
    window = 3

    def prepared(self, x: Tensor) -> Tensor:
        return self.rolled(self.padded(x))

    def padded(self, x: Tensor) -> Tensor:
        below, beside = (-size % self.window for size in x.shape[1:3])
        return nn.functional.pad(x, (0, 0, 0, beside, 0, below))

    def finished(self, x: Tensor) -> Tensor:
        return self.back(x)[:, : self.grid[0], : self.grid[1]]


class PaddedAfterRoll(OddGrid):
    """Rolls first and pads then: what came round counts to the end of the grid."""

    def prepared(self, x: Tensor) -> Tensor:
        return self.padded(self.rolled(x))

    def finished(self, x: Tensor) -> Tensor:
        return self.back(x[:, : self.grid[0], : self.grid[1]])


class Image(nn.Module):
    """Patches through one block."""

    def __init__(self, mix: nn.Module) -> None:
        super().__init__()
        self.enter = nn.Linear(WIDTH, WIDTH)
        self.mix = mix
        self.leave = nn.Linear(WIDTH, WIDTH + 1)

    def forward(self, patches: Tensor) -> Tensor:
        return self.leave(self.mix(self.enter(patches)))


def patches(length: int) -> dict[str, Tensor]:
    """Return the patches of `GRID`."""
    return {"patches": numbers(BATCH, GRID[0] * GRID[1], WIDTH)}


def odd_patches(length: int) -> dict[str, Tensor]:
    """Return the patches of a grid that windows do not divide."""
    return {"patches": numbers(BATCH, OddGrid.grid[0] * OddGrid.grid[1], WIDTH)}


def _row(name: str, wrong: type[Shifted], cause: tuple[str, ...]) -> Fault:
    odd = issubclass(wrong, OddGrid)
    right = OddGrid if odd else Shifted
    return Fault(
        name=name,
        family="swin",
        wrong=seeded(lambda: Image(wrong())),
        right=seeded(lambda: Image(right())),
        claim=Sees({"patches": sl.shifted_window(right.grid, right.window, SHIFT)}),
        inputs=odd_patches if odd else patches,
        module="mix",
        cause=cause,
    )


FAULTS = (
    _row("shifted windows without a mask", NoMask, ("window", "roll")),
    _row("shifted mask of the other sign", MaskOfOtherSign, ("window", "roll", "shift")),
    _row("rolled the other way", RolledTheOtherWay, ("window", "roll", "shift")),
    _row("not rolled back", NotRolledBack, ("roll", "position")),
    _row("grid's axes swapped", AxesSwapped, ("window", "axes")),
    _row("padded after the roll", PaddedAfterRoll, ("pad", "roll")),
)

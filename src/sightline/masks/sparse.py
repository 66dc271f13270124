"""Sparse attention patterns from the literature, each as its authors define it.

Sparse Transformer's strided and fixed patterns, LogSparse (the paper's and the widely used
code's, which differ), BigBird-style random blocks, and BD3-LM's block diffusion.
"""

from __future__ import annotations

from dataclasses import dataclass

from sightline.errors import InvalidMask
from sightline.masks.arguments import as_int, as_size
from sightline.masks.arrays import Array, Cells
from sightline.masks.mask import Extent, Mask, Spec
from sightline.masks.nodes import Atom
from sightline.masks.positional import causal


@dataclass(frozen=True, slots=True, repr=False)
class Strided(Atom):
    """Causal: the last ``stride`` keys and every ``stride``-th key before."""

    stride: int

    def allowed(self, cells: Cells) -> Array:
        back = cells.query - cells.key
        return (back >= 0) & ((back <= self.stride) | (back % self.stride == 0))

    def spec(self) -> Spec:
        return "strided", {"stride": self.stride}


@dataclass(frozen=True, slots=True, repr=False)
class Fixed(Atom):
    """Causal: the query's own chunk and the last ``summary`` keys of every chunk."""

    stride: int
    summary: int

    def allowed(self, cells: Cells) -> Array:
        same_chunk = cells.query // self.stride == cells.key // self.stride
        is_summary = cells.key % self.stride >= self.stride - self.summary
        return (cells.key <= cells.query) & (same_chunk | is_summary)

    def spec(self) -> Spec:
        return "fixed", {"stride": self.stride, "summary": self.summary}


@dataclass(frozen=True, slots=True, repr=False)
class LogSparse(Atom):
    """Causal: oneself, ``local`` keys before, and those a power of two before."""

    local: int
    restart: int | None

    def allowed(self, cells: Cells) -> Array:
        back = cells.query - cells.key
        # A power of two shares no bit with the number below it; 0 counts as one here: oneself.
        near = (back <= self.local) | ((back & (back - 1)) == 0)
        result = (back >= 0) & near
        if self.restart is None:
            return result
        return result & (cells.query // self.restart == cells.key // self.restart)

    def spec(self) -> Spec:
        return "log_sparse", {"local": self.local, "restart": self.restart}


@dataclass(frozen=True, slots=True, repr=False)
class LogSparseRowMask(Atom):
    """LogSparse as public code builds it: dense at first, then restarting every ``sub_len``."""

    sub_len: int
    win_len: int

    @property
    def log_len(self) -> int:
        """⌈log2 sub_len⌉, the length of the local window."""
        return (self.sub_len - 1).bit_length()

    def allowed(self, cells: Cells) -> Array:
        query, key = cells.query, cells.key
        sub, log = self.sub_len, self.log_len
        whole_past = query < (self.win_len // sub) * 2 * log
        # Anchors are query, query - sub, ...; the last one before 0 may lack a full local window.
        last = query % sub
        local = (((query - key) % sub) < log) & (key + (query - key) % sub >= log - 1)
        tail = (last < log - 1) & (key < last)
        points = key < 0
        for step in self.point_distances():
            behind = query - key - step
            points = points | ((behind >= 0) & (behind % sub == 0))
        seen = whole_past | local | tail | points
        return (key <= query) & (query < self.win_len) & seen

    def point_distances(self) -> list[int]:
        """Distances from an anchor to its sparse points: log_len - 1 + 2^i, up to ``sub_len``."""
        distances = (self.log_len - 1 + 2**i for i in range(self.log_len))
        return [distance for distance in distances if distance <= self.sub_len]

    def spec(self) -> Spec:
        return "log_sparse_row_mask", {"sub_len": self.sub_len, "win_len": self.win_len}

    def extent(self) -> Extent:
        return self.win_len, self.win_len


@dataclass(frozen=True, slots=True, repr=False)
class RandomBlocks(Atom):
    """The key's block is among ``per_row`` blocks drawn for the query's block."""

    block: int
    per_row: int
    seed: int

    def allowed(self, cells: Cells) -> Array:
        row, column = cells.query // self.block, cells.key // self.block
        # Floyd's sampling without replacement, written out over its ``per_row`` steps. Rows with
        # no more candidates than draws take all of them.
        chosen: list[Array] = []
        base = mix(mix(self.seed) ^ row)
        for step in range(self.per_row):
            top = row - self.per_row + 1 + step
            drawn = mix(base ^ (top * (top >= 0))) % (top * (top >= 0) + 1)
            taken = top < 0
            for earlier in chosen:
                taken = taken | (earlier == drawn)
            chosen.append(drawn * ~taken + top * taken)
        result = (row < self.per_row) & (column <= row)
        for pick in chosen:
            result = result | ((row >= self.per_row) & (pick == column))
        return result

    def spec(self) -> Spec:
        return "random_blocks", {"block": self.block, "per_row": self.per_row, "seed": self.seed}


def mix(x: Array) -> Array:
    """Scramble 31-bit integers; every product stays within int64 on any array library."""
    low_bits = 2**31 - 1
    x = (x + 0x1E3779B9) & low_bits
    x = x ^ (x >> 16)
    x = (x * 0x45D9F3B) & low_bits
    x = x ^ (x >> 15)
    x = (x * 0x2C1B3C6D) & low_bits
    return x ^ (x >> 16)


@dataclass(frozen=True, slots=True, repr=False)
class BlockDiffusion(Atom):
    """Noised tokens 0 .. length-1, then the same tokens clean, in blocks of ``block``."""

    length: int
    block: int

    def allowed(self, cells: Cells) -> Array:
        query, key, length = cells.query, cells.key, self.length
        clean_query, clean_key = query >= length, key >= length
        query_block = (query % length) // self.block
        key_block = (key % length) // self.block
        own_noise = ~clean_query & ~clean_key & (query_block == key_block)
        earlier_clean = ~clean_query & clean_key & (key_block < query_block)
        clean_to_clean = clean_query & clean_key & (key_block <= query_block)
        inside = (query < 2 * length) & (key < 2 * length)
        return inside & (own_noise | earlier_clean | clean_to_clean)

    def spec(self) -> Spec:
        return "block_diffusion", {"length": self.length, "block": self.block}

    def extent(self) -> Extent:
        return 2 * self.length, 2 * self.length


# -- what users call --------------------------------------------------------------------------


def strided(stride: int) -> Mask:
    """Sparse Transformer's strided pattern: the last ``stride`` keys, and every ``stride``-th.

    k <= q and (q - k <= stride or (q - k) mod stride = 0): the paper's two head patterns
    together (Child et al. 2019, section 4.2). To give each to its own heads, write
    ``per_head([window(stride, 0), causal() & dilated(stride)])``.

    >>> import sightline as sl
    >>> sl.strided(2).dense(2, 7, q_offset=5)[0, 0].astype(int)
    array([[0, 1, 0, 1, 1, 1, 0],
           [1, 0, 1, 0, 1, 1, 1]])
    """
    stride = as_size(stride, "strided(stride=)")
    return causal() if stride == 1 else Strided(stride)


def fixed(stride: int, summary: int) -> Mask:
    """Sparse Transformer's fixed pattern: one's own chunk, and each chunk's last ``summary`` keys.

    k <= q and (⌊q/stride⌋ = ⌊k/stride⌋ or k mod stride >= stride - summary), with
    1 <= summary <= stride (Child et al. 2019, section 4.2).

    >>> import sightline as sl
    >>> sl.fixed(stride=3, summary=1).dense(2, 7, q_offset=5)[0, 0].astype(int)
    array([[0, 0, 1, 1, 1, 1, 0],
           [0, 0, 1, 0, 0, 1, 1]])
    """
    stride = as_size(stride, "fixed(stride=)")
    summary = as_int(summary, "fixed(summary=)", least=1, most=stride)
    return causal() if summary == stride else Fixed(stride, summary)


def log_sparse(local: int = 0, restart: int | None = None) -> Mask:
    """LogSparse attention: oneself and the cells 1, 2, 4, 8, ... before (Li et al. 2019).

    Causal. With d = q - k: d = 0, d a power of two, or d <= ``local``. ``restart`` confines this
    to sub-blocks of that many positions: ⌊q/restart⌋ = ⌊k/restart⌋. Section 4.2 of "Enhancing the
    Locality and Breaking the Memory Bottleneck of Transformer on Time Series Forecasting"
    (arXiv 1907.00235). Public code builds another mask under the same name:
    ``log_sparse_row_mask``.

    >>> import sightline as sl
    >>> sl.log_sparse().dense(1, 10, q_offset=9)[0, 0].astype(int)
    array([[0, 1, 0, 0, 0, 1, 0, 1, 1, 1]])
    """
    size = None if restart is None else as_size(restart, "log_sparse(restart=)")
    return LogSparse(as_int(local, "log_sparse(local=)", least=0), size)


def log_sparse_row_mask(sub_len: int, win_len: int) -> Mask:
    """LogSparse as the widely copied ``row_mask(index, sub_len, win_len)`` function builds it.

    With L = ⌈log2 sub_len⌉: a row below ⌊win_len/sub_len⌋·2·L sees its whole past. Any other row
    walks an anchor back from q in steps of ``sub_len``; at each it sees the L keys up to the
    anchor and the keys L - 1 + 2^i before it, as far as ``sub_len``. An anchor with fewer than L
    keys up to it sees those before it, without itself. Positions from ``win_len`` on see nothing.
    It is not the paper's mask; see ``log_sparse``.

    >>> import sightline as sl
    >>> sl.log_sparse_row_mask(sub_len=4, win_len=12).dense(1, 14, q_offset=13).any()
    np.False_
    """
    sub_len = as_int(sub_len, "log_sparse_row_mask(sub_len=)", least=2)
    return LogSparseRowMask(sub_len, as_size(win_len, "log_sparse_row_mask(win_len=)"))


def random_blocks(block: int, per_row: int, seed: int = 0) -> Mask:
    """The key's block is one of ``per_row`` blocks drawn for the query's block.

    Blocks hold ``block`` positions. Query block i draws min(per_row, i + 1) different blocks of
    0 .. i, by a counter-based generator: the same seed gives the same mask whatever the length,
    the batch or the device. For an encoder, draw the other side as well:
    ``random_blocks(64, 3, seed=1) | random_blocks(64, 3, seed=2).T``. After BigBird
    (Zaheer et al. 2020), whose draw depends on the length.

    >>> import sightline as sl
    >>> mask = sl.random_blocks(block=2, per_row=2, seed=5)
    >>> bool((mask.dense(16)[..., :9, :9] == mask.dense(9)).all())
    True
    """
    block = as_size(block, "random_blocks(block=)")
    per_row = as_int(per_row, "random_blocks(per_row=)", least=1, most=4096)
    return RandomBlocks(
        block, per_row, as_int(seed, "random_blocks(seed=)", least=0, most=2**31 - 1)
    )


def block_diffusion(length: int, block: int) -> Mask:
    """BD3-LM's training mask over 2·length positions: noised tokens, then the same ones clean.

    A noised token sees the noised tokens of its own block and the clean tokens of earlier blocks;
    a clean token sees the clean tokens of its own and earlier blocks (Arriola et al. 2025,
    "Block Diffusion"). Positions from 2·length on see nothing.

    >>> import sightline as sl
    >>> sl.block_diffusion(length=4, block=2).dense(8)[0, 0].astype(int)
    array([[1, 1, 0, 0, 0, 0, 0, 0],
           [1, 1, 0, 0, 0, 0, 0, 0],
           [0, 0, 1, 1, 1, 1, 0, 0],
           [0, 0, 1, 1, 1, 1, 0, 0],
           [0, 0, 0, 0, 1, 1, 0, 0],
           [0, 0, 0, 0, 1, 1, 0, 0],
           [0, 0, 0, 0, 1, 1, 1, 1],
           [0, 0, 0, 0, 1, 1, 1, 1]])
    """
    length = as_size(length, "block_diffusion(length=)")
    block = as_size(block, "block_diffusion(block=)")
    if block > length:
        raise InvalidMask(
            f"block_diffusion(block=) must be at most length={length}, got {block}; "
            f"one block over all tokens is block={length}."
        )
    return BlockDiffusion(length, block)


__all__ = [
    "block_diffusion",
    "fixed",
    "log_sparse",
    "log_sparse_row_mask",
    "random_blocks",
    "strided",
]

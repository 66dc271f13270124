"""Sequences of different lengths as one tensor, with the mask and positions that belong to it.

Padding a batch on the left without moving the positions, or packing it without a mask, is how
models come to give different results for the same sequence. Here tokens, mask and positions are
made together. What a layer does with them is left to the layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from operator import or_
from typing import Any, Literal, get_args

from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.lower.arguments import require_torch
from sightline.masks.data import documents
from sightline.masks.explicit import per_batch
from sightline.masks.mask import Mask
from sightline.masks.padding import padding
from sightline.masks.positional import keys, nothing
from sightline.nn.sequences import (
    as_lengths,
    as_sequence,
    check_alike,
    cut,
    lengths_and_side,
    short,
)

torch = require_torch("sl.Batch")

Side = Literal["right", "left", "packed"]


@dataclass(frozen=True, eq=False, repr=False)
class Batch:
    """Sequences side by side: where their tokens stand, who belongs to whom, who stands where.

    Made by ``from_sequences``, ``from_lengths`` or ``from_padded``.

    Attributes:
        lengths: how many tokens each sequence has.
        side: where the padding is: "right" (at the end), "left", or "packed" (there is none: one
            row with all sequences end to end).
        length: the length of a row, padding included.
        tokens: [rows, length, ...], or None if only the lengths are known. There is one row for
            each sequence, or one for all of them if packed.
        dropped: how many tokens of each sequence were cut off.

    >>> import sightline as sl, torch
    >>> batch = sl.Batch.from_sequences([[5, 6, 7], [8]], side="left")
    >>> batch
    Batch of 2 sequences (3 and 1 tokens), padded on the left to 3; 33 % padding
    >>> batch.tokens.tolist(), batch.positions.tolist()
    ([[5, 6, 7], [0, 0, 8]], [[0, 1, 2], [0, 0, 0]])
    >>> batch.mask
    padding(lengths=[3, 1], side='left')
    >>> batch.packed().tokens.tolist(), batch.packed().mask
    ([[5, 6, 7, 8]], documents(lengths=[3, 1]))
    """

    lengths: tuple[int, ...]
    side: Side
    length: int
    tokens: Any = None
    dropped: tuple[int, ...] = field(default=())

    # -- making ---------------------------------------------------------------------------------

    @classmethod
    def from_sequences(
        cls,
        sequences: Iterable[Any],
        *,
        side: Side = "right",
        pad: float = 0,
        max_length: int | None = None,
        truncate: Literal["left", "right"] | None = None,
    ) -> Batch:
        """Lay out sequences: tensors [length, ...], or lists of token ids.

        Args:
            sequences: at least one; of one dtype, device and trailing shape. A sequence may be
                empty.
            side: "right", "left" or "packed".
            pad: what to put where there is no token. Nothing may depend on it.
            max_length: the most tokens that a sequence may have.
            truncate: what to do with longer ones: drop tokens at their "left" or "right" end;
                None refuses them.

        Raises:
            InvalidArgument: no sequences, or of different kinds, or an unknown side.
            ShapeMismatch: a sequence longer than ``max_length`` without ``truncate``.

        >>> Batch.from_sequences([[1, 2, 3], [4]], max_length=2, truncate="left").tokens.tolist()
        [[2, 3], [4, 0]]
        """
        given = [as_sequence(each, place) for place, each in enumerate(sequences)]
        if not given:
            raise InvalidArgument("got no sequences; wanted at least one.")
        check_alike(given)
        kept = [cut(each, place, max_length, truncate) for place, each in enumerate(given)]
        dropped = tuple(len(all_) - len(some) for all_, some in zip(given, kept, strict=True))
        bare = cls.from_lengths([len(each) for each in kept], side=side)
        tokens = bare.scatter(torch.cat(kept), fill=pad)
        return replace(bare, tokens=tokens, dropped=dropped)

    @classmethod
    def from_lengths(
        cls, lengths: Iterable[int], *, side: Side = "right", length: int | None = None
    ) -> Batch:
        """The same without tokens: only who stands where.

        Args:
            lengths: how many tokens each sequence has.
            side: "right", "left" or "packed".
            length: the length of a row; None takes the longest sequence, or all of them together
                if packed.

        >>> Batch.from_lengths([2, 3]).valid.int().tolist()
        [[1, 1, 0], [1, 1, 1]]
        """
        sizes = as_lengths(lengths)
        if side not in get_args(Side):
            raise InvalidArgument(f"got side={side!r}; wanted 'right', 'left' or 'packed'.")
        least = sum(sizes) if side == "packed" else max(sizes)
        if length is not None and (length < least or (side == "packed" and length > least)):
            raise ShapeMismatch(
                f"got rows of length {length} for sequences of {short(sizes)} tokens "
                f"({side}); wanted {'' if side == 'packed' else 'at least '}{least}; leave length "
                "out to get that."
            )
        return cls(sizes, side, least if length is None else length, dropped=(0,) * len(sizes))

    @classmethod
    def from_padded(
        cls,
        tokens: Any,
        lengths: Any = None,
        *,
        valid: Any = None,
        side: Literal["right", "left"] = "right",
    ) -> Batch:
        """Take a padded tensor as it stands.

        Args:
            tokens: [batch, length, ...].
            lengths: how many tokens each row has, [batch];
            side: and on which side the padding is;
            valid: or instead of both [batch, length], True or 1 for a real token (transformers' 2-D
                ``attention_mask``). The side is read off; a row with a gap is refused.

        >>> Batch.from_padded(torch.ones(2, 3), valid=torch.tensor([[1, 1, 1], [0, 1, 1]]))
        Batch of 2 sequences (3 and 2 tokens), padded on the left to 3; 17 % padding
        """
        if not isinstance(tokens, torch.Tensor) or tokens.ndim < 2:
            got = list(tokens.shape) if isinstance(tokens, torch.Tensor) else type(tokens).__name__
            raise ShapeMismatch(f"got tokens {got}; wanted a tensor [batch, length, ...].")
        if (lengths is None) == (valid is None):
            raise InvalidArgument(
                "got both or neither of lengths= and valid=; wanted exactly one of them."
            )
        if valid is not None:
            lengths, side = lengths_and_side(valid, tuple(tokens.shape[:2]))
        bare = cls.from_lengths(lengths, side=side, length=int(tokens.shape[1]))
        if len(bare.lengths) != tokens.shape[0]:
            raise ShapeMismatch(
                f"got {len(bare.lengths)} lengths for {tokens.shape[0]} rows of tokens; wanted one "
                "for each."
            )
        return replace(bare, tokens=tokens)

    # -- what belongs to it ---------------------------------------------------------------------

    @property
    def rows(self) -> int:
        """How many rows the tensors have: one for each sequence, or 1 if packed."""
        return 1 if self.side == "packed" else len(self.lengths)

    @property
    def real(self) -> int:
        """How many tokens there are, padding not counted."""
        return sum(self.lengths)

    @property
    def padding_share(self) -> float:
        """What part of the tensor is padding, 0 to 1."""
        return 1 - self.real / (self.rows * self.length) if self.length else 0.0

    @cached_property
    def mask(self) -> Mask:
        """The mask: no token sees padding, or another sequence. Combine it with ``&``.

        For a mask that speaks of positions, such as ``sl.chunks(4)``, use ``place``: with padding
        on the left, and packed, a token's column is not its position.
        """
        if self.side == "packed":
            return documents(lengths=self.lengths)
        return padding(lengths=self.lengths, side=self.side, total=self.length)

    def place(self, mask: Mask | Sequence[Mask]) -> Mask:
        """Return the mask over this tensor for a mask over the positions of each sequence.

        Args:
            mask: one for all sequences, or a list with one for each; position 0 is a sequence's
                first token.

        Raises:
            ShapeMismatch: not as many masks as sequences, or a mask with batch rows of its own
                where rows and sequences are not the same; give a list then.

        >>> import sightline as sl
        >>> batch = sl.Batch.from_lengths([3, 4], side="left")
        >>> batch.place(sl.chunks(2)).dense(4)[0, 0].astype(int)
        array([[0, 0, 0, 0],
               [0, 1, 1, 0],
               [0, 1, 1, 0],
               [0, 0, 0, 1]])
        """
        each = self._one_for_each(mask)
        if self.side == "right":
            return (mask if isinstance(mask, Mask) else per_batch(each)) & self.mask
        if isinstance(mask, Mask) and mask.asks_distance_alone:
            return mask & self.mask
        starts = self._starts
        moved = [one.shift(query=at, key=at) for one, at in zip(each, starts, strict=True)]
        as_ever = [_uncovered(one, at) for one, at in zip(each, starts, strict=True)]
        if all(one is each[0] for one in each) and moved == as_ever:
            return each[0] & self.mask  # it looks at distances only
        if self.side == "left":
            return per_batch(moved) & self.mask
        stops = (at + length for at, length in zip(starts, self.lengths, strict=True))
        spots = [keys(range(at, stop)) for at, stop in zip(starts, stops, strict=True) if stop > at]
        filled = [one for one, length in zip(moved, self.lengths, strict=True) if length]
        boxes = (one & spot & spot.T for one, spot in zip(filled, spots, strict=True))
        return reduce(or_, boxes, nothing())

    def _one_for_each(self, mask: Mask | Sequence[Mask]) -> list[Mask]:
        if not isinstance(mask, Mask):
            if len(mask) != len(self.lengths):
                raise ShapeMismatch(
                    f"got {len(mask)} masks for {len(self.lengths)} sequences; wanted one for each."
                )
            return list(mask)
        if mask.batch > 1 and self.side != "right":
            raise ShapeMismatch(
                f"got a mask for {mask.batch} batch rows, which have other positions once they are "
                f"{'packed' if self.side == 'packed' else 'padded on the left'}; wanted a list "
                "with one mask for each sequence."
            )
        return [mask] * len(self.lengths)

    @cached_property
    def positions(self) -> Any:
        """Where each token stands in its sequence: int64 [rows, length], 0 at padding."""
        return self.scatter(torch.cat([torch.arange(length) for length in self.lengths]))

    @cached_property
    def valid(self) -> Any:
        """Where there are tokens: bool [rows, length]."""
        return self.scatter(torch.ones(self.real, dtype=torch.bool))

    @cached_property
    def cu_seqlens(self) -> Any:
        """Where the sequences begin and end once packed: int32 [sequences + 1]."""
        sizes = torch.tensor((0, *self.lengths), dtype=torch.int32)
        return torch.cumsum(sizes, 0, dtype=torch.int32)

    # -- from one layout to another -------------------------------------------------------------

    def padded(
        self, side: Literal["right", "left"] = "right", *, pad: float = 0, length: int | None = None
    ) -> Batch:
        """Return the same sequences with padding on that side."""
        return self._laid(Batch.from_lengths(self.lengths, side=side, length=length), pad)

    def packed(self) -> Batch:
        """Return the same sequences end to end in one row."""
        return self._laid(Batch.from_lengths(self.lengths, side="packed"), 0)

    def _laid(self, bare: Batch, pad: float) -> Batch:
        tokens = None
        if self.tokens is not None:
            tokens = bare.scatter(self.gather(self.tokens), fill=pad)
        return replace(bare, tokens=tokens, dropped=self.dropped)

    def gather(self, x: Any) -> Any:
        """Return the real tokens' part of a tensor laid out like this: [real, ...].

        Args:
            x: [rows, length, ...], such as a model's output.
        """
        self._check_laid(x)
        return x.flatten(0, 1).index_select(0, self._index.to(x.device))

    def scatter(self, x: Any, *, fill: float = 0) -> Any:
        """Return the real tokens [real, ...] laid out like this, ``fill`` at padding."""
        if x.shape[0] != self.real:
            raise ShapeMismatch(
                f"got {x.shape[0]} rows for {self.real} tokens; wanted one row for each token, as "
                "gather gives them."
            )
        out = x.new_full((self.rows * self.length, *x.shape[1:]), fill)
        out = out.index_copy(0, self._index.to(x.device), x)
        return (
            out.unflatten(0, (self.rows, self.length))
            if len(out)
            else out.view(self.rows, self.length, *x.shape[1:])
        )

    def split(self, x: Any) -> list[Any]:
        """Return a tensor laid out like this as one tensor [length, ...] for each sequence."""
        return list(self.gather(x).split(list(self.lengths)))

    def sequences(self) -> list[Any]:
        """Return the tokens as one tensor for each sequence.

        >>> [each.tolist() for each in Batch.from_sequences([[1, 2], [3]]).sequences()]
        [[1, 2], [3]]
        """
        if self.tokens is None:
            raise InvalidArgument(
                "got a batch of lengths only; wanted one with tokens; make it with from_sequences."
            )
        return self.split(self.tokens)

    def first(self, x: Any) -> Any:
        """Return what stands at each sequence's first token: [sequences, ...]."""
        return self._at(x, torch.zeros(len(self.lengths), dtype=torch.int64))

    def last(self, x: Any) -> Any:
        """Return what stands at each sequence's last token: [sequences, ...].

        >>> batch = Batch.from_sequences([[1, 2, 3], [4]])
        >>> batch.last(batch.tokens).tolist()
        [3, 4]
        """
        return self._at(x, torch.tensor(self.lengths) - 1)

    def _at(self, x: Any, places: Any) -> Any:
        self._check_laid(x)
        if 0 in self.lengths:
            raise InvalidArgument(
                f"got an empty sequence (number {self.lengths.index(0)}), which has no first or "
                "last token; wanted sequences of at least one; leave the empty ones out."
            )
        begins = torch.tensor(self.lengths).cumsum(0) - torch.tensor(self.lengths)
        return x.flatten(0, 1).index_select(0, self._index[begins + places].to(x.device))

    # -- inside ---------------------------------------------------------------------------------

    @property
    def _starts(self) -> list[int]:
        """The column of each sequence's first token."""
        if self.side == "packed":
            return self.cu_seqlens[:-1].tolist()
        return [self.length - own if self.side == "left" else 0 for own in self.lengths]

    @cached_property
    def _index(self) -> Any:
        """Where the real tokens are in [rows * length], sequence after sequence."""
        if self.side == "packed":
            return torch.arange(self.real)
        rows = [row * self.length + start for row, start in enumerate(self._starts)]
        each = zip(rows, self.lengths, strict=True)
        return torch.cat([torch.arange(at, at + length) for at, length in each])

    def _check_laid(self, x: Any) -> None:
        if tuple(x.shape[:2]) != (self.rows, self.length):
            raise ShapeMismatch(
                f"got a tensor {list(x.shape)}; wanted [{self.rows}, {self.length}, ...], as this "
                f"batch is laid out ({self.side})."
            )

    def __len__(self) -> int:
        return len(self.lengths)

    def __repr__(self) -> str:
        many = len(self.lengths)
        what = f"Batch of {many} sequence{'s' * (many > 1)} ({short(self.lengths)} tokens)"
        if self.side == "packed":
            return f"{what}, packed"
        share = round(100 * self.padding_share)
        return f"{what}, padded on the {self.side} to {self.length}; {share} % padding"


def _uncovered(mask: Mask, start: int) -> Mask:
    """Return the mask without what a move by ``start`` would uncover, at positions below it."""
    return mask.shift(query=-start, key=-start).shift(query=start, key=start) if start else mask

"""What a model promises: masks over inputs and outputs, and promises that are not a mask.

A contract is a mask (an output at a query may depend on the input at the keys that it allows), one
of the promises below, several of them in a list, or a dict with one of these for each input. What
they are checked by stands in visibility.py and properties/.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sightline.errors import InvalidArgument
from sightline.masks.arguments import describe
from sightline.masks.mask import Mask
from sightline.masks.positional import window

__all__ = [
    "Clause",
    "Contract",
    "backend_parity",
    "batch_invariant",
    "cache_parity",
    "clauses_of",
    "isolated",
    "mask_sensitive",
    "pad_invariant",
    "strict",
]


class Contract:
    """A promise that is not a mask; made by the functions of this file."""

    __slots__ = ()


@dataclass(frozen=True)
class PadInvariant(Contract):
    """See ``pad_invariant``."""

    left: bool = True
    right: bool = True
    other_ids: bool = True
    mask: str | None = None
    means: str = "attend"

    def __str__(self) -> str:
        """Return it as it is written."""
        given = [f"{n}=False" for n in ("left", "right", "other_ids") if not getattr(self, n)]
        if self.mask is not None:
            given += [f"mask={self.mask!r}", f"means={self.means!r}"]
        return f"pad_invariant({', '.join(given)})"


@dataclass(frozen=True)
class BatchInvariant(Contract):
    """See ``batch_invariant``."""

    def __str__(self) -> str:
        """Return it as it is written."""
        return "batch_invariant()"


@dataclass(frozen=True)
class Isolated(Contract):
    """See ``isolated``."""

    documents: Mask

    def __str__(self) -> str:
        """Return it as it is written."""
        return f"isolated({self.documents!r})"


@dataclass(frozen=True)
class CacheParity(Contract):
    """See ``cache_parity``."""

    splits: tuple[int, ...] = ()

    def __str__(self) -> str:
        """Return it as it is written."""
        return f"cache_parity({list(self.splits)})" if self.splits else "cache_parity()"


@dataclass(frozen=True)
class BackendParity(Contract):
    """See ``backend_parity``."""

    def __str__(self) -> str:
        """Return it as it is written."""
        return "backend_parity()"


@dataclass(frozen=True)
class MaskSensitive(Contract):
    """See ``mask_sensitive``."""

    mask: str | None = None

    def __str__(self) -> str:
        """Return it as it is written."""
        return "mask_sensitive()" if self.mask is None else f"mask_sensitive({self.mask!r})"


def pad_invariant(
    left: bool = True,
    right: bool = True,
    other_ids: bool = True,
    *,
    mask: str | None = None,
    means: str = "attend",
) -> Contract:
    """Padding changes nothing: a sequence gives the same outputs alone, left- and right-padded.

    Args:
        left: compare with padding before the sequence.
        right: compare with padding behind it.
        other_ids: what the padding holds must not matter either: other token ids, other features.
        mask: the keyword by which the model is told what is padding, ``[batch, length]``, or the
            lengths ``[batch]``; None looks for one that is known: ``attention_mask``,
            ``key_padding_mask``, ``src_key_padding_mask``, ``lengths``.
        means: ``"attend"``: True or 1 is a real token; ``"ignore"``: True or 1 is padding;
            ``"lengths"``. Only read with ``mask``.

    >>> str(pad_invariant(left=False))
    'pad_invariant(left=False)'
    """
    if not (left or right or other_ids):
        raise InvalidArgument(
            "pad_invariant got nothing to compare; leave one of its arguments True."
        )
    if means not in ("attend", "ignore", "lengths"):
        raise InvalidArgument(f"pad_invariant(means={means!r}); wanted attend, ignore or lengths.")
    return PadInvariant(left, right, other_ids, mask, means)


def batch_invariant() -> Contract:
    """A row of the batch gives the same outputs whatever the other rows hold.

    This is about using a model: training, where a batch norm mixes rows, is tested only if
    ``conditions=`` names it.
    """
    return BatchInvariant()


def isolated(documents: Mask) -> Contract:
    """Packed documents do not read each other, by attention or by any other path.

    Args:
        documents: which positions belong together, ``sl.documents(...)``; a model that is told by
            a keyword gets it with the inputs.
    """
    if not isinstance(cast(Any, documents), Mask):
        raise InvalidArgument(f"isolated wants sl.documents(...), got {describe(documents)}.")
    return Isolated(documents)


def cache_parity(splits: Sequence[int] = ()) -> Contract:
    """A prompt in one pass, in chunks, and token by token through the cache give the same outputs.

    Args:
        splits: lengths of the chunks; none means one prompt and single tokens, and two chunks.
    """
    sizes = tuple(splits)
    if any(not isinstance(cast(Any, size), int) or size < 1 for size in sizes):
        raise InvalidArgument(f"cache_parity wants lengths of at least 1, got {list(splits)}.")
    return CacheParity(sizes)


def backend_parity() -> Contract:
    """Every attention backend that the model has gives the same outputs, up to rounding."""
    return BackendParity()


def mask_sensitive(mask: str | None = None) -> Contract:
    """A mask that is given has an effect: hiding a token that mattered changes other outputs.

    Args:
        mask: the keyword of the model that takes it; None tries every keyword that says mask.
    """
    return MaskSensitive(mask)


def strict() -> Mask:
    """No output depends on the input at its own position, through any path.

    >>> strict()
    ~window(left=0, right=0)
    """
    return ~window(left=0, right=0)


@dataclass(frozen=True)
class Clause:
    """One promise about one input and one output.

    Attributes:
        promise: the mask, or the promise that is not one.
        input: the name of the input, perhaps with features, ``"clicks"`` or ``"x[3]"`` or
            ``"x[0:4]"`` (along the last axis); None is every input that varies.
        output: the name of the output; None is every output.
    """

    promise: Mask | Contract
    input: str | None = None
    output: str | None = None

    def __str__(self) -> str:
        """Return it as it is written."""
        text = repr(self.promise) if isinstance(self.promise, Mask) else str(self.promise)
        if self.input is None and self.output is None:
            return text
        arrow = f" -> {self.output}" if self.output else ""
        return f"{self.input or 'every input'}{arrow}: {text}"


def clauses_of(contract: object) -> tuple[Clause, ...]:
    """Return what a contract says, clause by clause.

    Args:
        contract: a mask, a promise of this file, a list of these, or a dict from the name of an
            input (or ``"input -> output"``) to one of these.

    Raises:
        InvalidArgument: anything else, or an empty contract.

    >>> import sightline as sl
    >>> for clause in clauses_of({"clicks -> scores": sl.causal(strict=True)}):
    ...     print(clause)
    clicks -> scores: causal(strict=True)
    """
    clauses = tuple(_clauses(contract, None, None))
    if not clauses:
        raise InvalidArgument("got an empty contract; wanted a mask, such as sl.causal().")
    return clauses


def _clauses(contract: object, given: str | None, output: str | None) -> list[Clause]:
    if isinstance(contract, (Mask, Contract)):
        return [Clause(contract, given, output)]
    if isinstance(contract, Mapping):
        found: list[Clause] = []
        for key, each in cast("Mapping[Any, Any]", contract).items():
            name, _, to = str(key).partition("->")
            found += _clauses(each, name.strip() or None, to.strip() or None)
        return found
    if isinstance(contract, (list, tuple)):
        return [c for each in cast("list[Any]", contract) for c in _clauses(each, given, output)]
    raise InvalidArgument(
        f"got {describe(contract)} as a contract; wanted a mask such as sl.causal(), a promise "
        "such as sl.audit.pad_invariant(), a list of them, or a dict from names of inputs to them."
    )

"""What users hand to ``sl.Batch``, checked: sequences, lengths, and which tokens are real."""

from __future__ import annotations

from typing import Any, Literal

from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.lower.arguments import require_torch

torch = require_torch("sl.Batch")


def as_sequence(given: Any, place: int) -> Any:
    """Return a sequence as a tensor [length, ...]; ``place`` is its number, for messages."""
    found = given if isinstance(given, torch.Tensor) else torch.as_tensor(given)
    if not isinstance(given, torch.Tensor) and found.numel() == 0:
        found = found.to(torch.int64)
    if found.ndim < 1:
        raise ShapeMismatch(
            f"got a single number as sequence {place}; wanted a list of token ids or a tensor "
            "[length, ...]."
        )
    return found


def check_alike(sequences: list[Any]) -> None:
    """Refuse sequences of different dtypes, devices or trailing shapes."""
    first = sequences[0]
    for place, each in enumerate(sequences):
        for what, got, wanted in (
            ("dtype", each.dtype, first.dtype),
            ("device", each.device, first.device),
            ("trailing shape", list(each.shape[1:]), list(first.shape[1:])),
        ):
            if got != wanted:
                raise InvalidArgument(
                    f"got sequence {place} with {what} {got} and sequence 0 with {wanted}; wanted "
                    "the same for all."
                )


def cut(sequence: Any, place: int, most: int | None, truncate: str | None) -> Any:
    """Return a sequence of at most ``most`` tokens, or refuse a longer one."""
    if truncate not in (None, "left", "right"):
        raise InvalidArgument(f"got truncate={truncate!r}; wanted 'left', 'right' or None.")
    if most is None or len(sequence) <= most:
        return sequence
    if truncate is None:
        raise ShapeMismatch(
            f"got sequence {place} with {len(sequence)} tokens, more than max_length={most}; "
            "say truncate='right' to drop tokens at its end, or truncate='left' at its beginning."
        )
    return sequence[len(sequence) - most :] if truncate == "left" else sequence[:most]


def as_lengths(lengths: Any) -> tuple[int, ...]:
    """Return lengths from a list, an array or a tensor."""
    given = lengths.tolist() if hasattr(lengths, "tolist") else lengths
    sizes = tuple(int(each) for each in given)
    if not sizes or min(sizes) < 0:
        raise InvalidArgument(
            f"got lengths {short(sizes) or '[]'}; wanted at least one, none of them negative."
        )
    return sizes


def lengths_and_side(
    valid: Any, shape: tuple[int, ...]
) -> tuple[list[int], Literal["right", "left"]]:
    """Return the lengths and the side of the padding that ``valid`` [batch, length] shows."""
    given = torch.as_tensor(valid)
    if tuple(given.shape) != shape or not bool(((given == 0) | (given == 1)).all()):
        raise ShapeMismatch(
            f"got valid {list(given.shape)}; wanted {list(shape)} of True and False, or 1 and 0."
        )
    bits = given.bool().cpu()
    lengths = bits.sum(1)
    columns = torch.arange(shape[1])
    if bool((bits == (columns < lengths[:, None])).all()):
        return lengths.tolist(), "right"
    if bool((bits == (columns >= shape[1] - lengths[:, None])).all()):
        return lengths.tolist(), "left"
    raise InvalidArgument(
        "got valid with gaps, or with padding on both sides; wanted the tokens of every row "
        "together at one end, the same end for all rows."
    )


def short(lengths: tuple[int, ...]) -> str:
    """Return numbers in words, the first few of many."""
    shown = [str(each) for each in lengths[:4]]
    if len(lengths) > 4:
        return ", ".join(shown[:3]) + ", ..."
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1]))) if shown else ""

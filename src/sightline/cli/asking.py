"""What the commands that look at one mask share: its expression or file, and limits of size."""

from __future__ import annotations

from typing import Annotated

import typer

from sightline.masks.mask import Mask
from sightline.masks.parser import parse
from sightline.readers.mask_file import check_file, looks_like_file, read_mask

__all__ = [
    "MOST_MIXED",
    "Expression",
    "Means",
    "QOffset",
    "Tensor",
    "all_means",
    "check_size",
    "expression_from",
    "lengths_of",
    "mask_from",
]

# What a mask is read in where it has no structure: up to this many blocks take a few minutes.
MOST_MIXED = 1 << 21
# There is a bit for each query, and a number for each column of blocks.
_MOST_QUERIES, _MOST_KEYS = 1 << 26, 1 << 30
_MEANS = {
    "attend": "1 or True may attend (torch's scaled_dot_product_attention)",
    "ignore": "1 or True is forbidden (torch's MultiheadAttention)",
    "additive": "0 may attend, -inf is forbidden (added to the scores)",
}

# Arguments, each with its line of help.
Expression = Annotated[
    str | None,
    typer.Argument(metavar="EXPR", help="A mask expression, or a .npy, .pt or .safetensors file."),
]
QOffset = Annotated[
    int, typer.Option(min=0, metavar="N", help="Absolute position of the first query.")
]
Means = Annotated[
    str | None,
    typer.Option(metavar="|".join(_MEANS), help="What the entries of a mask file mean."),
]
Tensor = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Which tensor of a mask file that holds several."),
]


def mask_from(
    expression: str | None, means: str | None, tensor: str | None, *, instead: str = ""
) -> Mask:
    """Read an expression or a mask file; ``instead`` is what else could have been given."""
    if expression is None:
        raise typer.BadParameter(
            f"give a mask expression, such as 'causal()'{instead}.", param_hint="'EXPR'"
        )
    if not looks_like_file(expression):
        for name, value in (("--means", means), ("--tensor", tensor)):
            if value is not None:
                raise typer.BadParameter(
                    f"this belongs to a mask file; {expression!r} is read as an expression.",
                    param_hint=repr(name),
                )
        return parse(expression)
    if expression.lower().endswith(".txt"):
        raise typer.BadParameter(
            f"got {expression!r}; a drawing is read by `sightline explain {expression}`, which "
            "says its expression.",
            param_hint="'EXPR'",
        )
    check_file(expression)
    if means not in _MEANS:
        got = "it is missing" if means is None else f"got {means!r}"
        raise typer.BadParameter(
            f"{got}; a file does not say what its entries mean, so one of these must:{all_means()}",
            param_hint="'--means'",
        )
    return read_mask(expression, means=means, tensor=tensor)


def expression_from(text: str, option: str) -> Mask:
    """Read what only an expression can say: a second mask, a page's."""
    if looks_like_file(text):
        raise typer.BadParameter(
            f"got {text!r}, the name of a file; wanted an expression. `sightline explain {text}` "
            "says the one that a file of a mask holds.",
            param_hint=repr(option),
        )
    return parse(text)


def all_means() -> str:
    """Return what --means can be, a line each."""
    return "".join(f"\n  {word:9} {meaning}" for word, meaning in _MEANS.items())


def lengths_of(mask: Mask, q_offset: int, otherwise: int) -> tuple[int, int]:
    """Return (queries, keys) that a mask's own data cover from ``q_offset`` on.

    A mask without data of its own is looked at for ``otherwise`` queries.
    """
    queries, keys = mask.extent()
    if not queries and not keys:
        return otherwise, otherwise + q_offset
    q_len, kv_len = (queries or keys or 0) - q_offset, keys or queries or 0
    if q_len < 1:
        raise typer.BadParameter(
            f"got {q_offset}, beyond the last query at {q_offset + q_len - 1}; "
            "give a smaller one, or --size.",
            param_hint="'--q-offset'",
        )
    return q_len, kv_len


def check_size(mask: Mask, q_len: int, kv_len: int) -> None:
    """Refuse what cannot be held; whether a mask takes too long is found out while looking."""
    rows = mask.batch * mask.heads
    if rows * q_len > _MOST_QUERIES or kv_len > _MOST_KEYS:
        times = f" in {rows} batch rows and heads" if rows > 1 else ""
        raise typer.BadParameter(
            f"{q_len} queries{times} x {kv_len} keys are too many (at most {_MOST_QUERIES} and "
            f"{_MOST_KEYS}); give a smaller one, such as 1m, or a part with --q-offset.",
            param_hint="'--size'",
        )

"""What `explain` and `convert` are given: options as name=value, and masks that a file holds.

What a file means is found out by sightline.recognize; here are the arguments for it.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from sightline.cli.asking import all_means
from sightline.cli.output import working
from sightline.errors import DataError, InvalidArgument, ParseError
from sightline.masks.parser import parse
from sightline.readers.lines import read_text
from sightline.readers.mask_file import read_mask_array, read_stored
from sightline.recognize.conventions import MEANS
from sightline.recognize.drawn import read_drawing
from sightline.recognize.recognize import recognize
from sightline.recognize.result import Recognized
from sightline.recognize.sources.front import each_recognized
from sightline.recognize.sources.table import module_of

__all__ = ["DRAWING", "FileOptions", "Held", "Source", "held_by", "read_options"]

# How the name of a text drawing ends, and how large it may be.
DRAWING = ".txt"
_LARGEST_DRAWING = 4 << 20

Source = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The library's form that the file holds, as torch.mha."),
]
FileOptions = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="What the form takes besides, as num_heads=8."),
]


@dataclass(frozen=True)
class Held:
    """One mask of a file.

    Attributes:
        name: what it is called where a form has several; "" for a single one.
        found: the expression, and how it was read.
        shape: ``(batch, heads, queries, keys)`` of what was read.
    """

    name: str
    found: Recognized
    shape: tuple[int, ...]


def read_options(words: Sequence[str] | None, option: str) -> dict[str, Any]:
    """Return options given as ``name=value``: values of Python, masks, or else words.

    >>> read_options(["num_heads=4", "own=causal()", "grid=(2, 3)", "dtype=float16"], "--option")
    {'num_heads': 4, 'own': causal(), 'grid': (2, 3), 'dtype': 'float16'}
    """
    found: dict[str, Any] = {}
    for word in words or ():
        name, sign, value = word.partition("=")
        if not sign or not name.isidentifier():
            raise typer.BadParameter(
                f"got {word!r}, wanted name=value, such as num_heads=8.", param_hint=repr(option)
            )
        if name in found:
            raise typer.BadParameter(f"got {name} twice; give it once.", param_hint=repr(option))
        found[name] = _value(value)
    return found


def _value(text: str) -> Any:
    lowered = {"true": True, "false": False, "none": None}
    if text.lower() in lowered:
        return lowered[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return parse(text) if "(" in text else text


def held_by(
    path: str,
    *,
    means: str | None,
    source: str | None,
    tensor: str | None,
    q_offset: int | None,
    options: dict[str, Any],
) -> tuple[Held, ...]:
    """Return the masks that a file holds: one, or several where a library's form has several.

    Raises:
        typer.BadParameter: arguments that do not go together; numbers that do not say their sense.
    """
    if path.lower().endswith(DRAWING):
        return (_drawn(path, means, q_offset, {"--source": source, "--tensor": tensor, **options}),)
    if source is None:
        return (_bare(path, means, tensor, q_offset, options),)
    if means is not None:
        raise typer.BadParameter(
            f"leave it out: the form of {source} says itself what its values mean.",
            param_hint="'--means'",
        )
    names = module_of(source).SOURCE.gives
    given: Any = read_stored(path) if tensor is None else read_mask_array(path, tensor=tensor)
    with working("reading"):
        found = each_recognized(given, source, recognize, q_offset=q_offset, options=options)
    return tuple(
        Held(name if len(names) > 1 else "", one, read.allowed.shape)
        for name, (read, one) in zip(names, found, strict=True)
    )


def _drawn(path: str, means: str | None, at: int | None, others: dict[str, Any]) -> Held:
    """Read a text drawing; like an array, but that its signs say what they mean."""
    for name, value in others.items():
        if value is not None:
            raise typer.BadParameter(
                f"this belongs to files of arrays; {path} is read as a drawing.",
                param_hint=repr(name if name.startswith("--") else "--source-option"),
            )
    if not Path(path).is_file():
        raise DataError("there is no such file; wanted a mask drawn as text.", path=path)
    if Path(path).stat().st_size > _LARGEST_DRAWING:
        raise DataError(
            f"it is larger than {_LARGEST_DRAWING >> 20} MiB; a mask of that size is not drawn; "
            "save it as an array with numpy.save.",
            path=path,
        )
    text = read_text(Path(path))
    try:
        with working("reading"):
            found = recognize(text, means, q_offset=at)
            return Held("", found, read_drawing(text).cells.shape)
    except (ParseError, InvalidArgument) as error:
        raise DataError(str(error), path=path) from error


def _bare(
    path: str, means: str | None, tensor: str | None, at: int | None, options: dict[str, Any]
) -> Held:
    if options:
        raise typer.BadParameter(
            f"{next(iter(options))} belongs to a library's form; name it with --source.",
            param_hint="'--source-option'",
        )
    if means is not None and means not in MEANS:
        raise typer.BadParameter(
            f"got {means!r}; wanted one of these:{all_means()}", param_hint="'--means'"
        )
    array = read_mask_array(path, tensor=tensor)
    with working("reading"):
        if means is None and array.dtype.kind != "b" and np.isin(array, (0, 1)).all():
            raise typer.BadParameter(_both(path, array, at), param_hint="'--means'")
        found = recognize(array, means, q_offset=at)
    shape = array.shape if array.ndim == 4 else (1, 1, *array.shape)
    return Held("", found, shape)


def _both(path: str, array: NDArray[Any], at: int | None) -> str:
    """Return the words for an array of 0 and 1, of which nobody knows the sense."""
    readings = {
        means: repr(recognize(array, means, q_offset=at).mask) for means in ("attend", "ignore")
    }
    lines = "".join(
        f"\n  --means {means:7}{what:16}{readings[means]}"
        for means, what in (("attend", "1 may attend:"), ("ignore", "1 may not:"))
    )
    return (
        f"{path} holds numbers, 0 and 1 only, which do not say what 1 means; name the one that you "
        f"mean:{lines}"
    )

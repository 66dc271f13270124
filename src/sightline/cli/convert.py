"""`sightline convert`: translate a mask into another library's form, show it, write it to a file.

Reads the arguments and prints; the form comes from sightline.lower, its parts and the file's
content from sightline.views.parts, the words from convert_report.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from sightline.cli.asking import Means, Tensor, check_size
from sightline.cli.convert_report import as_json, list_as_json, refusal, render_list, render_parts
from sightline.cli.given import FileOptions, Held, Source, held_by, read_options
from sightline.cli.output import output_encoding, use_color, working, write_line
from sightline.cli.sizes import read_size
from sightline.errors import CannotExpress, InvalidArgument, SightlineError
from sightline.lower.destinations import Destination, module_of
from sightline.lower.lower import backends, lower
from sightline.masks.mask import Mask
from sightline.masks.parser import parse
from sightline.readers.mask_file import looks_like_file
from sightline.views.files import write_atomically
from sightline.views.parts import ARRAY_SUFFIXES, Part, encoded, parts_of
from sightline.views.text.glyphs import paint

__all__ = ["convert"]

REFUSED = 1
# Written out pair by pair: 2 GiB of bools. Forms that are made from runs or blocks have any size.
_MOST_PAIRS = 1 << 31

_Masks = Annotated[
    list[str] | None,
    typer.Argument(metavar="SOURCE...", help="A mask expression or file; some forms take three."),
]
_To = Annotated[
    str | None, typer.Option("--to", metavar="NAME", help="The form to make; see --list.")
]
_Size = Annotated[
    str | None, typer.Option(metavar="N|QxK", help="Queries and keys, such as 16, 4x16 or 4k.")
]
_QOffset = Annotated[
    int | None, typer.Option(min=0, metavar="N", help="Absolute position of the first query.")
]
_Out = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write into a .npy or .safetensors file.")
]
_Options = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="NAME=VALUE", help="What the form takes besides; see --list."),
]
_Json = Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")]
_List = Annotated[bool, typer.Option("--list", help="List all forms and stop.")]


@dataclass(frozen=True)
class _Shape:
    q_len: int
    kv_len: int
    q_offset: int


def convert(
    masks: _Masks = None,
    to: _To = None,
    size: _Size = None,
    q_offset: _QOffset = None,
    out: _Out = None,
    option: _Options = None,
    means: Means = None,
    source: Source = None,
    tensor: Tensor = None,
    source_option: FileOptions = None,
    json: _Json = False,
    list_forms: _List = False,
) -> None:
    """Translate a mask into another library's form, exactly, or say why that cannot be.

    Exit code 1 if the form cannot say the mask.

    Examples:
      sightline convert 'causal() & padding(lengths=[5, 3])' --to torch.mha --size 5
      sightline convert saved.npy --means ignore --to torch.sdpa --out call.safetensors
      sightline convert 'causal()' --to numpy.additive --size 4 --option dtype=float16
      sightline convert --list
    """
    if list_forms:
        write_line(list_as_json(backends()) if json else render_list(backends(), **_look()))
        return
    destination = _destination(to)
    _check_out(out)
    file = {"means": means, "source": source, "tensor": tensor, "options": source_option}
    given, held = _given(masks, file, q_offset)
    _check_number(given, destination)
    shape = _shape(given, held, size, q_offset)
    _check_pairs(given, shape, destination)
    try:
        with working(f"converting to {destination.name}"):
            parts = _translated(given, destination, shape, read_options(option, "--option"))
    except CannotExpress as error:
        write_line(refusal(error, as_json=json))
        raise typer.Exit(REFUSED) from None
    if out is not None:
        write_atomically(out, encoded(parts, out.suffix.lower()))
    if json:
        write_line(
            as_json(given, destination, (shape.q_len, shape.kv_len, shape.q_offset), parts, out)
        )
    else:
        _print(given, destination, shape, parts, out)


def _look() -> dict[str, Any]:
    return {"color": use_color(), "encoding": output_encoding()}


def _destination(to: str | None) -> Destination:
    if to is None:
        raise typer.BadParameter(
            "it is missing; name a form, such as torch.sdpa, or --list to see them.",
            param_hint="'--to'",
        )
    return module_of(to).DESTINATION


def _check_out(out: Path | None) -> None:
    if out is not None and out.suffix.lower() not in ARRAY_SUFFIXES:
        raise typer.BadParameter(
            f"got {str(out)!r}, wanted a name that ends in {' or '.join(ARRAY_SUFFIXES)}.",
            param_hint="'--out'",
        )


def _given(
    words: list[str] | None, file: dict[str, Any], q_offset: int | None
) -> tuple[list[Mask], list[Held]]:
    """Return the masks, and those of them that came from files."""
    if not words:
        raise typer.BadParameter(
            "give a mask expression, such as 'causal()', or a file.", param_hint="'SOURCE'"
        )
    masks: list[Mask] = []
    held: list[Held] = []
    for word in words:
        if looks_like_file(word):
            options = read_options(file["options"], "--source-option")
            found = held_by(word, q_offset=q_offset, **{**file, "options": options})
            held += found
            masks += [each.found.mask for each in found]
        else:
            masks.append(parse(word))
    if not held:
        for name, value in file.items():
            if value:
                shown = "--source-option" if name == "options" else f"--{name}"
                raise typer.BadParameter(
                    "this belongs to a mask file; what was given is an expression.",
                    param_hint=repr(shown),
                )
    return masks, held


def _check_number(given: list[Mask], destination: Destination) -> None:
    wanted = len(destination.takes)
    if len(given) != wanted:
        names = "one mask" if wanted == 1 else f"{wanted}: {', '.join(destination.takes)}"
        raise typer.BadParameter(
            f"got {len(given)} masks, but {destination.name} takes {names}.", param_hint="'SOURCE'"
        )


def _shape(given: list[Mask], held: list[Held], size: str | None, q_offset: int | None) -> _Shape:
    """Settle the size: as asked; else the file's own; else what the data of the masks cover."""
    at = q_offset or 0
    if held and len(held) == len(given):
        q_len, kv_len = held[-1].shape[2:]
        at = held[-1].found.q_offset
        if size is not None and read_size(size) != (q_len, kv_len):
            raise typer.BadParameter(
                f"the file holds {q_len} queries x {kv_len} keys; leave it out: what is not in "
                "the file is not known.",
                param_hint="'--size'",
            )
        return _Shape(q_len, kv_len, at)
    if size is not None:
        return _Shape(*read_size(size), at)
    queries, keys = zip(*(mask.extent() for mask in given), strict=True)
    q_len, kv_len = (max((each or 0 for each in axis), default=0) for axis in (queries, keys))
    q_len, kv_len = (q_len or kv_len) - at, kv_len or q_len
    if q_len < 1 or kv_len < 1:
        raise typer.BadParameter(
            "it is missing, and the mask's data do not tell it; give one, such as 16 or 4x16.",
            param_hint="'--size'",
        )
    return _Shape(q_len, kv_len, at)


def _check_pairs(given: list[Mask], shape: _Shape, destination: Destination) -> None:
    for mask in given:
        check_size(mask, shape.q_len, shape.kv_len)
        pairs = mask.batch * mask.heads * shape.q_len * shape.kv_len
        if pairs > _MOST_PAIRS and destination.writes_pairs:
            others = ", ".join(row.name for row in backends() if not row.writes_pairs)
            raise typer.BadParameter(
                f"{pairs} pairs are too many to write out (at most {_MOST_PAIRS}); give a smaller "
                f"one, or a form that does not list pairs: {others}.",
                param_hint="'--size'",
            )


def _translated(
    given: list[Mask], destination: Destination, shape: _Shape, options: dict[str, Any]
) -> list[Part]:
    mask = given[0] if len(given) == 1 else tuple(given)
    try:
        made = lower(mask, destination.name, shape.q_len, shape.kv_len, shape.q_offset, **options)
    except SightlineError:
        raise
    except (TypeError, ValueError, RuntimeError, AssertionError, MemoryError) as error:
        # An option that the library itself does not like, such as a device that is not there.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise InvalidArgument(f"{destination.name} cannot be made so: {reason}.") from error
    return parts_of(made)


def _print(
    given: list[Mask], destination: Destination, shape: _Shape, parts: list[Part], out: Path | None
) -> None:
    color = use_color()
    for mask in given:
        write_line(paint(repr(mask), "title", color))
    at = f" from position {shape.q_offset}" if shape.q_offset else ""
    write_line(f"{shape.q_len} queries{at} x {shape.kv_len} keys, as {destination.name}")
    write_line()
    write_line(render_parts(parts, destination, **_look()))
    if out is not None:
        write_line(f"\nwrote {out}")

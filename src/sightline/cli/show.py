"""`sightline show`: draw a mask in the terminal, as JSON, or into a file.

Reads the arguments and prints; the facts come from sightline.views.survey, the words around
the drawing from show_report.py, blocks and differences from show_drawing.py.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from sightline.cli.asking import (
    MOST_MIXED,
    Expression,
    Means,
    QOffset,
    Tensor,
    check_size,
    lengths_of,
    mask_from,
)
from sightline.cli.output import output_encoding, progress_bar, use_color, write_line
from sightline.cli.show_drawing import Against, Blocks, Drawn, Out
from sightline.cli.show_report import Shown, as_json, headline, panels, remarks
from sightline.cli.show_why import Why, print_why, refuse_with_why
from sightline.cli.sizes import read_size
from sightline.masks.mask import Mask
from sightline.masks.names import NAMES
from sightline.views.files import write_atomically
from sightline.views.picture import MaskPicture
from sightline.views.survey import Survey, survey
from sightline.views.svg.render import render_svg, render_svg_row
from sightline.views.text.glyphs import paint
from sightline.views.text.table import render_table
from sightline.views.text.terminal import render_text

__all__ = ["show"]

_DEFAULT_SIZE = 8
_PAIRS_WORTH_A_BAR = 10**9
# Up to 64 tokens are drawn one by one; a longer axis is drawn in 32 cells, which a terminal of 80
# columns has room for two characters wide, so that cells look square.
_MOST_SINGLE, _CELLS = 64, 32
_SVG_CELLS = 128


@dataclass(frozen=True)
class _Frame:
    q_len: int
    kv_len: int
    q_offset: int
    tokens: list[str] | None


# The arguments, each with its line of help.
_Tokens = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="Label queries and keys with the words of TEXT."),
]
_Size = Annotated[
    str | None, typer.Option(metavar="N|QxK", help="Queries and keys, such as 16, 4x16 or 4k.")
]
_Head = Annotated[int | None, typer.Option(min=0, metavar="H", help="Show only this head.")]
_Batch = Annotated[int | None, typer.Option(min=0, metavar="B", help="Show only this batch row.")]
_Json = Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")]
_Svg = Annotated[Path | None, typer.Option(metavar="FILE", help="Draw into an SVG file, too.")]
_List = Annotated[bool, typer.Option("--list", help="List all masks and stop.")]


def show(
    expression: Expression = None,
    tokens: _Tokens = None,
    size: _Size = None,
    q_offset: QOffset = 0,
    head: _Head = None,
    batch: _Batch = None,
    means: Means = None,
    tensor: Tensor = None,
    json: _Json = False,
    svg: _Svg = None,
    out: Out = None,
    blocks: Blocks = None,
    against: Against = None,
    why: Why = None,
    list_masks: _List = False,
) -> None:
    """Draw who may see whom, and say which queries see nothing.

    Examples:
      sightline show 'causal() & padding(lengths=[5, 3])' --tokens 'I have a dream <eos>'
      sightline show 'causal() & window(left=100000)' --size 1m
      sightline show 'causal()' --against 'window(left=3)' --out difference.png
      sightline show saved.npy --means ignore --svg saved.svg
    """
    if list_masks:
        _print_list()
        return
    mask = mask_from(expression, means, tensor, instead=", or --list to see what there is")
    if why is not None:
        drawing = {"--out": out, "--svg": svg, "--blocks": blocks, "--against": against}
        refuse_with_why({**drawing, "--tokens": tokens})
        print_why(mask, expression or "", why, batch, head, as_json=json)
        return
    frame = _frame(mask, tokens, size, q_offset)
    shown = Shown.of(mask, batch, head)
    drawn = Drawn.of(out, blocks, against, json=json)
    check_size(mask, frame.q_len, frame.kv_len)
    drawn.write(mask, frame, batch, head)
    if svg is not None:
        _write_svg(svg, mask, frame, shown)
    seen = _look(mask, frame, to_svg=False)
    if json:
        write_line(as_json(mask, seen, shown, frame.tokens))
    else:
        if drawn.on_screen:
            drawn.print(mask, frame, batch, head)
        else:
            _print(mask, seen, shown, frame)
        for path in (svg, out):
            if path is not None:
                write_line(f"\nwrote {path}")


def _frame(mask: Mask, tokens: str | None, size: str | None, q_offset: int) -> _Frame:
    """Settle the size: as asked, else as many as there are tokens, else what the data cover."""
    words = None if tokens is None else tokens.split()
    if words is not None and not words:
        raise typer.BadParameter(
            "got no words, wanted some, separated by spaces.", param_hint="'--tokens'"
        )
    if size is not None:
        q_len, kv_len = read_size(size)
    elif words is not None:
        q_len, kv_len = len(words) - q_offset, len(words)
    else:
        q_len, kv_len = lengths_of(mask, q_offset, _DEFAULT_SIZE)
    if q_len < 1:
        raise typer.BadParameter(
            f"got {q_offset}, beyond the last query at {q_offset + q_len - 1}; "
            "give a smaller one, or --size.",
            param_hint="'--q-offset'",
        )
    if words is not None and max(q_offset + q_len, kv_len) > len(words):
        raise typer.BadParameter(
            f"got {len(words)} words for {max(q_offset + q_len, kv_len)} positions; "
            "give a word for each (say <pad>), or leave --size out.",
            param_hint="'--tokens'",
        )
    return _Frame(q_len, kv_len, q_offset, words)


def _look(mask: Mask, frame: _Frame, *, to_svg: bool) -> Survey:
    lengths = (frame.q_len, frame.kv_len)
    fit = tuple(
        _SVG_CELLS if to_svg else length if length <= _MOST_SINGLE else _CELLS for length in lengths
    )
    pairs = mask.batch * mask.heads * frame.q_len * frame.kv_len
    label = "drawing" if to_svg else "looking"
    with progress_bar(label, frame.q_len, wanted=pairs > _PAIRS_WORTH_A_BAR) as progress:
        return survey(
            mask,
            *lengths,
            q_offset=frame.q_offset,
            fit=(fit[0], fit[1]),
            progress=progress,
            most_mixed=MOST_MIXED,
        )


def _panels(seen: Survey, shown: Shown, frame: _Frame) -> list[MaskPicture]:
    rows = columns = None
    if frame.tokens is not None:
        rows = frame.tokens[frame.q_offset : frame.q_offset + frame.q_len]
        columns = frame.tokens[: frame.kv_len]
    return panels(seen, shown, rows, columns)


def _print(mask: Mask, seen: Survey, shown: Shown, frame: _Frame) -> None:
    color, encoding = use_color(), output_encoding()
    expression, facts = headline(mask, seen, shown)
    write_line(paint(expression, "title", color))
    write_line(facts)
    drawn = _panels(seen, shown, frame)
    for index, picture in enumerate(drawn):
        write_line()
        last = index == len(drawn) - 1
        write_line(render_text(picture, color=color, encoding=encoding, legend=last))
    for line in remarks(seen, shown, len(drawn)):
        write_line(line)


def _write_svg(path: Path, mask: Mask, frame: _Frame, shown: Shown) -> None:
    if path.suffix.lower() in (".png", ".html", ".txt"):
        raise typer.BadParameter(
            f"got {str(path)!r}; this draws an SVG, --out FILE draws by the ending of the name.",
            param_hint="'--svg'",
        )
    pictures = _panels(_look(mask, frame, to_svg=True), shown, frame)
    title = repr(mask)
    if len(pictures) > 1:
        text = render_svg_row(pictures, title=title)
    else:
        heading = " - ".join(part for part in (title, pictures[0].title) if part)
        text = render_svg(replace(pictures[0], title=heading))
    write_atomically(path, text)


def _print_list() -> None:
    rows = [(name + _signature(mask), _definition(mask)) for name, mask in NAMES.items()]
    table = render_table(["mask", "allowed"], rows, color=use_color(), encoding=output_encoding())
    write_line(table)


def _signature(function: Any) -> str:
    """Return a constructor's parameters without types, which say little in a list."""
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in inspect.signature(function).parameters.values()
    ]
    return str(inspect.Signature(parameters))


def _definition(function: Any) -> str:
    return (inspect.getdoc(function) or "").split("\n")[0]

"""`sightline explain`: read a mask file or a drawing back into an expression, and say why.

Reads the arguments and prints; the expression comes from sightline.recognize, the sentences from
sightline.views.reasons.sentences, the picture from sightline.views.
"""

from __future__ import annotations

import json as json_module
from typing import Annotated, Any

import typer

from sightline.cli.asking import MOST_MIXED, Means, Tensor
from sightline.cli.given import DRAWING, FileOptions, Held, Source, held_by, read_options
from sightline.cli.output import output_encoding, progress_bar, use_color, write_line
from sightline.cli.show_report import Shown, panels, remarks
from sightline.readers.mask_file import MASK_SUFFIXES, looks_like_file
from sightline.views.reasons.sentences import in_words
from sightline.views.survey import Survey, survey
from sightline.views.text.glyphs import paint
from sightline.views.text.terminal import render_text

__all__ = ["explain"]

FINDINGS = 1
_MOST_SINGLE, _CELLS = 32, 16
_PAIRS_WORTH_A_BAR = 10**9
_COLORS = ("auto", "always", "never")
_ENDINGS = (*MASK_SUFFIXES, DRAWING)

_File = Annotated[
    str | None,
    typer.Argument(
        metavar="FILE", help="A .npy, .pt or .safetensors file, or a drawing in a .txt."
    ),
]
_QOffset = Annotated[
    int | None,
    typer.Option(min=0, metavar="N", help="Absolute position of the first query, if known."),
]
_Json = Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")]
_Color = Annotated[str, typer.Option(metavar="|".join(_COLORS), help="Whether to use colors.")]


def explain(
    file: _File = None,
    means: Means = None,
    source: Source = None,
    tensor: Tensor = None,
    q_offset: _QOffset = None,
    source_option: FileOptions = None,
    json: _Json = False,
    color: _Color = "auto",
) -> None:
    """Say what a mask file means: the expression, its convention, what is open, what looks wrong.

    Exit code 1 if something looks wrong.

    Examples:
      sightline explain mask.npy
      sightline explain mask.npy --means ignore --json
      sightline explain drawing.txt
      sightline explain call.safetensors --source torch.mha --source-option num_heads=8
    """
    path = _path(file)
    if color not in _COLORS:
        raise typer.BadParameter(
            f"got {color!r}, wanted {', '.join(_COLORS)}.", param_hint="'--color'"
        )
    held = held_by(
        path,
        means=means,
        source=source,
        tensor=tensor,
        q_offset=q_offset,
        options=read_options(source_option, "--source-option"),
    )
    if json:
        write_line(_as_json(path, source, held))
    else:
        painted = use_color() if color == "auto" else color == "always"
        for index, each in enumerate(held):
            if index:
                write_line()
            _print(path, each, painted)
    if any(each.found.warnings for each in held):
        raise typer.Exit(FINDINGS)


def _path(file: str | None) -> str:
    endings = ", ".join(_ENDINGS)
    if file is None or not looks_like_file(file):
        got = "" if file is None else f"got {file!r}, which is no file; `sightline show` draws an "
        got += "expression; " if file is not None else ""
        raise typer.BadParameter(
            f"{got}give a file that ends in {endings}.",
            param_hint="'FILE'",
        )
    if not file.lower().endswith(_ENDINGS):
        raise typer.BadParameter(
            f"got {file!r}; wanted a file that ends in {endings}.", param_hint="'FILE'"
        )
    return file


def _print(path: str, held: Held, color: bool) -> None:
    found = held.found
    heading = f"{path}: {held.name}" if held.name else path
    batch, heads, q_len, kv_len = held.shape
    rows = f", {batch} batch rows" * (batch > 1) + f", {heads} heads" * (heads > 1)
    write_line(f"{heading}: {q_len} queries x {kv_len} keys{rows}")
    write_line()
    write_line(paint(repr(found.mask), "title", color))
    at = f"; the first query is at position {found.q_offset}" if found.q_offset else ""
    write_line(f"{_CONVENTIONS[found.convention]}{at}")
    _print_list("because", found.evidence, "note", color)
    _print_list("open", found.ambiguous, "note", color)
    write_line()
    for line in in_words(found.mask):
        write_line(f"{'  ' * line.depth}{line.expression}: {line.words}")
    write_line()
    _draw(held, color)
    _print_list("warning", found.warnings, "empty", color)


_CONVENTIONS = {
    "attend": "read as: True may attend",
    "ignore": "read as: True may not attend",
    "additive": "read as: added to the scores, 0 may attend",
}


def _print_list(title: str, sentences: tuple[str, ...], style: str, color: bool) -> None:
    for sentence in sentences:
        write_line(paint(f"{title}: {sentence}", style, color))


def _draw(held: Held, color: bool) -> None:
    mask = held.found.mask
    seen = _look(held)
    shown = Shown.of(mask, None, None)
    drawn = panels(seen, shown, None, None)
    for index, picture in enumerate(drawn):
        last = index == len(drawn) - 1
        write_line(render_text(picture, color=color, encoding=output_encoding(), legend=last))
        if not last:
            write_line()
    for line in remarks(seen, shown, len(drawn)):
        write_line(line)


def _look(held: Held) -> Survey:
    q_len, kv_len = held.shape[2:]
    fit = _CELLS if max(q_len, kv_len) > _MOST_SINGLE else _MOST_SINGLE
    wanted = q_len * kv_len > _PAIRS_WORTH_A_BAR
    with progress_bar("looking", q_len, wanted=wanted) as progress:
        return survey(
            held.found.mask,
            q_len,
            kv_len,
            q_offset=held.found.q_offset,
            fit=fit,
            progress=progress,
            most_mixed=MOST_MIXED,
        )


def _as_json(path: str, source: str | None, held: tuple[Held, ...]) -> str:
    facts = {"file": path, "source": source, "masks": [_facts(each) for each in held]}
    return json_module.dumps(facts, indent=2)


def _facts(held: Held) -> dict[str, Any]:
    found, (batch, heads, q_len, kv_len) = held.found, held.shape
    count = found.mask.count(q_len, kv_len, found.q_offset)
    return {
        "name": held.name,
        "expression": repr(found.mask),
        "q_offset": found.q_offset,
        "batch": batch,
        "heads": heads,
        "q_len": q_len,
        "kv_len": kv_len,
        "convention": found.convention,
        "density": count / (found.mask.batch * found.mask.heads * q_len * kv_len),
        "evidence": list(found.evidence),
        "ambiguous": list(found.ambiguous),
        "warnings": list(found.warnings),
        "words": [
            {"depth": line.depth, "expression": line.expression, "words": line.words}
            for line in in_words(found.mask)
        ],
    }

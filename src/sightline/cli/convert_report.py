"""The words, tables and JSON of `sightline convert`; nothing is translated here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.cli.show_report import percent
from sightline.errors import CannotExpress
from sightline.lower.destinations import Destination
from sightline.masks.mask import Mask
from sightline.recognize.sources.table import NAMES as SOURCES
from sightline.recognize.sources.table import module_of
from sightline.views.parts import Part
from sightline.views.text.table import render_table

__all__ = ["as_json", "list_as_json", "refusal", "render_list", "render_parts"]

# Arrays of up to so many numbers are printed whole.
_MOST_PRINTED = 64


def render_parts(
    parts: Sequence[Part], destination: Destination, *, color: bool, encoding: str
) -> str:
    """Return a table of the parts, what True means there, and small arrays themselves."""
    rows = [(part.name or "(array)", part.dtype, _shape(part), _holds(part)) for part in parts]
    lines = [render_table(["part", "type", "shape", "holds"], rows, color=color, encoding=encoding)]
    if destination.name in SOURCES and any(part.array is not None for part in parts):
        lines += ["", f"True, or 1: {module_of(destination.name).SOURCE.true_means}"]
    for part in parts:
        if part.array is not None and 0 < part.array.size <= _MOST_PRINTED:
            numbers = part.array.astype(np.int64) if part.dtype == "bool" else part.array
            lines += ["", f"{part.name or 'array'} =", np.array2string(numbers)]
    return "\n".join(lines)


def _shape(part: Part) -> str:
    return "" if part.array is None else " x ".join(map(str, part.array.shape)) or "one number"


def _holds(part: Part) -> str:
    """Return what stands in a part, in few words."""
    if part.array is None:
        return str(part.value)
    array = part.array
    if not array.size:
        return "nothing"
    if array.dtype.kind == "b":
        return f"{percent(int(array.sum()), array.size)} True"
    least, most = array.min(), array.max()
    if array.dtype.kind == "f" and least < 0 <= most == 0:
        rest = _number(least) if _two_values(array) else f"{_number(least)} and others"
        return f"{percent(int((array == 0).sum()), array.size)} 0, the rest {rest}"
    return _number(least) if least == most else f"{_number(least)} to {_number(most)}"


def _two_values(array: NDArray[Any]) -> bool:
    return bool(((array == 0) | (array == array.min())).all())


def _number(value: Any) -> str:
    return str(int(value)) if value.dtype.kind in "iu" else f"{value:g}"


def _density(part: Part) -> float | None:
    """Return the share of True (of 0 where numbers are added), None for other parts."""
    if part.array is None or not part.array.size:
        return None
    if part.array.dtype.kind == "b":
        return float(part.array.mean())
    return float((part.array == 0).mean()) if part.array.dtype.kind == "f" else None


def as_json(
    given: Sequence[Mask],
    destination: Destination,
    shape: tuple[int, int, int],
    parts: Sequence[Part],
    out: Path | None,
) -> str:
    """Return the facts as JSON; ``density`` is the share of True, or of 0 where it is added."""
    facts = {
        "expressions": [repr(mask) for mask in given],
        "to": destination.name,
        "q_len": shape[0],
        "kv_len": shape[1],
        "q_offset": shape[2],
        "parts": [
            {
                "name": part.name,
                "type": part.dtype,
                "shape": None if part.array is None else list(part.array.shape),
                "density": _density(part),
                "value": part.value if part.array is None else None,
            }
            for part in parts
        ],
        "file": None if out is None else str(out),
    }
    return json.dumps(facts, indent=2)


def refusal(error: CannotExpress, *, as_json: bool) -> str:
    """Return why a form cannot say a mask, and what can."""
    if as_json:
        names = ("destination", "part", "reason", "alternative")
        return json.dumps({"refused": {name: getattr(error, name) for name in names}}, indent=2)
    return (
        f"{error.destination} cannot say this mask exactly, so nothing was made.\n"
        f"  what:    {error.part}\n"
        f"  why:     {error.reason}\n"
        f"  instead: {error.alternative}"
    )


def render_list(destinations: Sequence[Destination], *, color: bool, encoding: str) -> str:
    """Return a table of the forms: what each gives, can say, and refuses."""
    rows: list[tuple[str, str, str]] = []
    for each in destinations:
        facts = {
            "gives": each.gives,
            "expresses": each.expresses,
            "refuses": each.refuses,
            "options": ", ".join(each.options) or "none",
        }
        names = [each.name, *[""] * (len(facts) - 1)]
        rows += [
            (name, what, words) for name, (what, words) in zip(names, facts.items(), strict=True)
        ]
    return render_table(["form", "", ""], rows, color=color, encoding=encoding)


def list_as_json(destinations: Sequence[Destination]) -> str:
    """Return the rows of the forms as JSON."""
    names = ("name", "gives", "expresses", "refuses", "options", "needs", "takes")
    rows = [{name: getattr(each, name) for name in names} for each in destinations]
    return json.dumps(rows, indent=2)

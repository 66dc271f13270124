"""How masks and plans show themselves: as pictures in a notebook, as text in a terminal.

Notebooks ask for every value on the last line of a cell, so that this is quick for any mask: what
takes long to count is estimated, and said to be.
"""

from __future__ import annotations

import sys
from inspect import signature
from typing import TYPE_CHECKING, Any

from rich.console import Console

from sightline.errors import InvalidArgument
from sightline.masks.frame import Frame
from sightline.views.draw import arrange, draw, paint_scene
from sightline.views.drawing import KINDS
from sightline.views.scene import Wishes, scene_of, sizes_of
from sightline.views.text.terminal import render_scene_text

if TYPE_CHECKING:
    from sightline.masks.mask import Mask

__all__ = ["in_notebook", "mask_bundle", "show"]

# Cells each way, blocks that are read, seconds of counting, and of estimating each picture.
_CELLS, _MOST_MIXED, _PATIENCE, _SECONDS = 64, 1 << 12, 0.25, 0.1


def show(mask: Mask, q_len: int | None = None, kv_len: int | None = None, **wishes: Any) -> None:
    """Show ``mask``, in a notebook as a picture that answers, in a terminal as text.

    ``wishes`` are the other arguments of ``sl.draw``.

    Raises:
        InvalidArgument: there is no such kind of picture, or a terminal is asked for another
            than text.
    """
    given = signature(draw).bind(mask, q_len, kv_len, **wishes).arguments
    if in_notebook():
        from IPython.display import display

        display(draw(**{"to": "html", **given}))
        return
    if given.get("to", "txt") not in KINDS:
        raise InvalidArgument(f"show(to=) got {given['to']!r}, wanted one of {', '.join(KINDS)}.")
    if given.get("to", "txt") != "txt":
        raise InvalidArgument(
            f"show(to={given['to']!r}) needs a notebook; in a terminal, write the picture to a "
            f"file: sl.draw(..., to={given['to']!r}).save(...)."
        )
    color = Console(file=sys.stdout)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    given.pop("theme", None)
    if given.pop("language", "en") != "en":
        raise InvalidArgument(
            "show(language=) is for pictures in a notebook; in a terminal they are in English only."
        )
    labels = [given.pop(name, None) for name in ("tokens", "query_tokens", "key_tokens")]
    scene = arrange(
        **{"to": "txt", "q_offset": 0, "fit": None, **given},
        tokens=(labels[0], labels[1], labels[2]),
    )
    drawn = render_scene_text(
        scene, color=color.is_terminal and not color.no_color, encoding=encoding
    )
    sys.stdout.write(drawn.encode(encoding, "backslashreplace").decode(encoding) + "\n")


def in_notebook() -> bool:
    """Whether this code is run by a notebook's kernel."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and getattr(shell, "kernel", None) is not None


def mask_bundle(mask: Mask) -> dict[str, str]:
    """Return what a notebook may show of ``mask``: its text, and a small picture.

    >>> import sightline as sl
    >>> sorted(mask_bundle(sl.causal()))
    ['image/svg+xml', 'text/html', 'text/plain']
    """
    found = {"text/plain": repr(mask)}
    try:
        frame = Frame.of(*sizes_of(mask, None, None, 0, (None, None)))
        fit = tuple(min(length, _CELLS) for length in (frame.q_len, frame.kv_len))
        wishes = Wishes(
            fit=(fit[0], fit[1]), most_mixed=_MOST_MIXED, patience=_PATIENCE, seconds=_SECONDS
        )
        svg = str(paint_scene(scene_of(mask, frame, wishes), "svg"))
    except Exception:
        # A function of the user's may fail in any way. A value on the last line of a cell is no
        # question that could be answered by an error; sl.draw says what is wrong.
        return found
    return {**found, "text/html": f"<div>{svg}</div>", "image/svg+xml": svg}

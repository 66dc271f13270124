"""What `sightline show` draws with sl.draw: files of any kind, blocks of a plan, a difference.

The arguments are read here, too, those of show.py apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from sightline.cli.asking import expression_from
from sightline.cli.output import output_encoding, use_color, write_line
from sightline.cli.sizes import read_size
from sightline.masks.mask import Mask
from sightline.views.draw import arrange, paint_scene
from sightline.views.drawing import KINDS, Kind
from sightline.views.scene import Scene
from sightline.views.text.terminal import render_scene_text

__all__ = ["Against", "Blocks", "Drawn", "Out"]

Out = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Draw into a file .svg, .png, .html or .txt, too."),
]
Blocks = Annotated[
    str | None,
    typer.Option(metavar="N|QxK", help="Draw the plan's blocks of so many queries and keys."),
]
Against = Annotated[
    str | None, typer.Option(metavar="EXPR", help="Draw what is added and removed against EXPR.")
]


@dataclass(frozen=True)
class Drawn:
    """What is drawn with sl.draw.

    Attributes:
        out: the file, or None.
        kind: the kind of picture that the file's ending says.
        blocks: (queries, keys) of a block, or None.
        against: the mask to compare with, or None.
    """

    out: Path | None
    kind: Kind
    blocks: tuple[int, int] | None
    against: Mask | None

    @classmethod
    def of(cls, out: Path | None, blocks: str | None, against: str | None, *, json: bool) -> Drawn:
        """Check the arguments."""
        kind = "svg" if out is None else out.suffix.lower().lstrip(".")
        if kind not in KINDS:
            raise typer.BadParameter(
                f"got {str(out)!r}; end its name in one of {', '.join('.' + k for k in KINDS)}.",
                param_hint="'--out'",
            )
        for option, given in (("--blocks", blocks), ("--against", against)):
            if json and given is not None:
                raise typer.BadParameter(
                    "this is a drawing's; --json has the facts of the mask alone.",
                    param_hint=repr(option),
                )
        return cls(
            out,
            cast("Kind", kind),
            None if blocks is None else read_size(blocks, "--blocks"),
            None if against is None else expression_from(against, "--against"),
        )

    @property
    def on_screen(self) -> bool:
        """Whether the terminal shows this, and not the plain drawing."""
        return self.blocks is not None or self.against is not None

    def write(self, mask: Mask, frame: Any, batch: int | None, head: int | None) -> None:
        """Draw into the file, if there is one."""
        if self.out is not None:
            scene = self._scene(mask, frame, batch, head, self.kind)
            paint_scene(scene, self.kind).save(self.out)

    def print(self, mask: Mask, frame: Any, batch: int | None, head: int | None) -> None:
        """Draw in the terminal."""
        scene = self._scene(mask, frame, batch, head, "txt")
        write_line(render_scene_text(scene, color=use_color(), encoding=output_encoding()))

    def _scene(
        self, mask: Mask, frame: Any, batch: int | None, head: int | None, kind: Kind
    ) -> Scene:
        return arrange(
            mask,
            frame.q_len,
            frame.kv_len,
            to=kind,
            q_offset=frame.q_offset,
            tokens=(frame.tokens, None, None),
            fit=None,
            batch=batch,
            head=head,
            blocks=self.blocks,
            against=self.against,
        )

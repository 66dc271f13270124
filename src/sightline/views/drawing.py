"""What a picture is once it is drawn: its kind, its content, and where it can go.

Drawing is the work of svg.py, terminal.py and their neighbours; what is drawn is chosen in draw.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sightline.errors import InvalidArgument
from sightline.views.files import write_atomically
from sightline.views.png import data_uri

__all__ = ["KINDS", "Drawing", "Kind"]

Kind = Literal["svg", "png", "html", "txt"]
KINDS: dict[str, str] = {
    "svg": "image/svg+xml",
    "png": "image/png",
    "html": "text/html",
    "txt": "text/plain",
}


@dataclass(frozen=True)
class Drawing:
    """A finished picture: shown by notebooks, printed as text, saved to a file.

    Attributes:
        kind: ``"svg"``, ``"png"``, ``"html"`` (a page with nothing outside it) or ``"txt"``.
        content: the text; of a PNG, its bytes.
        summary: what it shows in one line, for who cannot see it.

    >>> drawing = Drawing("txt", "■", "causal()")
    >>> drawing, str(drawing)
    (<Drawing txt: causal()>, '■')
    """

    kind: Kind
    content: str | bytes
    summary: str = ""

    def __str__(self) -> str:
        return self.summary if isinstance(self.content, bytes) else self.content

    def __repr__(self) -> str:
        return f"<Drawing {self.kind}: {self.summary}>"

    def save(self, path: str | Path) -> Path:
        """Write the picture to a file whose ending is its kind; whole, or not at all.

        Raises:
            InvalidArgument: the file's ending says another kind.
        """
        target = Path(path)
        if target.suffix.lower() != f".{self.kind}":
            raise InvalidArgument(
                f"got {target.name!r} for a picture of kind {self.kind!r}; end its name in "
                f".{self.kind}, or draw it with to={target.suffix.lower().lstrip('.')!r}."
            )
        write_atomically(target, self.content)
        return target

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        """Say to a notebook what it can show; text stands beside every picture."""
        if isinstance(self.content, bytes):
            uri = data_uri(self.content, KINDS[self.kind])
            return {"text/plain": self.summary, "text/html": f'<img src="{uri}" alt="">'}
        if self.kind == "txt":
            return {"text/plain": self.content}
        return {"text/plain": self.summary, "text/html": self.content}

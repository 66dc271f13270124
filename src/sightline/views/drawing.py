"""What a picture is once it is drawn: its kind, its content, and where it can go.

Drawing is the work of svg/, png/ and text/; what is drawn is chosen in draw.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Literal

from sightline.errors import InvalidArgument
from sightline.views.files import write_atomically
from sightline.views.labels import visible
from sightline.views.png.pixels import data_uri

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
        kind: ``"svg"``, ``"png"``, ``"html"`` (with nothing outside it) or ``"txt"``.
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
            other = target.suffix.lower().lstrip(".")
            again = f", or draw it with to={other!r}" if other in KINDS else ""
            raise InvalidArgument(
                f"got {str(path)!r} for a picture of kind {self.kind!r}; end its name in "
                f".{self.kind}{again}."
            )
        write_atomically(target, self._page() if self.kind == "html" else self.content)
        return target

    def _page(self) -> str:
        """Return a fragment of HTML as a whole page; notebooks want it as it is."""
        content = str(self.content)
        if content[:9].lower() == "<!doctype":
            return content
        return (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{escape(visible(self.summary))}</title>\n"
            "<style>html{color-scheme:light dark}body{margin:12px}</style>\n</head>\n"
            f"<body>\n{content}</body>\n</html>\n"
        )

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        """Say to a notebook what it can show; text stands beside every picture."""
        if isinstance(self.content, bytes):
            alt = escape(visible(self.summary))
            uri = data_uri(self.content, KINDS[self.kind])
            return {"text/plain": self.summary, "text/html": f'<img src="{uri}" alt="{alt}">'}
        if self.kind == "txt":
            return {"text/plain": self.content}
        if self.kind == "svg":
            kinds = ("text/html", "image/svg+xml")
            return {"text/plain": self.summary, **dict.fromkeys(kinds, self.content)}
        return {"text/plain": self.summary, "text/html": self.content}

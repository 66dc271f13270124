"""What the doors of this room ask of their arguments alike."""

from __future__ import annotations

from sightline.errors import InvalidArgument
from sightline.views.drawing import KINDS
from sightline.views.style import THEMES

__all__ = ["check_choices"]


def check_choices(to: object, theme: object) -> None:
    """Refuse a kind of drawing or a theme that there is not."""
    for name, given, wanted in (("to", to, KINDS), ("theme", theme, THEMES)):
        if given not in wanted:
            raise InvalidArgument(f"got {name}={given!r}; wanted one of {', '.join(wanted)}.")

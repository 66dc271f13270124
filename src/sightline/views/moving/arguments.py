"""What the doors of this room ask of their arguments alike."""

from __future__ import annotations

from collections.abc import Sequence

from sightline.errors import InvalidArgument
from sightline.views.style import THEMES

__all__ = ["check_choices"]


def check_choices(to: object, theme: object, kinds: Sequence[str]) -> None:
    """Refuse a kind of drawing or a theme that there is not."""
    for name, given, wanted in (("to", to, kinds), ("theme", theme, THEMES)):
        if given not in wanted:
            raise InvalidArgument(f"got {name}={given!r}; wanted one of {', '.join(wanted)}.")

"""Reading a bare array back into an expression, exactly; the front door is recognize.py.

The package and its front door share a public name: ``sl.recognize`` is the package once any of it
is loaded, and calling the package is calling the front door.
"""

from __future__ import annotations

from sightline.masks.front_door import make_callable

make_callable(__name__, file="recognize")

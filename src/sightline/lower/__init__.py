"""Translating a mask into the form that another library wants; the front door is lower.py.

One file per destination, which also says what it can express; destinations.py lists them, and
forms/ holds what several of them are made from. The package and its front door share a public
name: ``sl.lower`` is the package once any of it is loaded, and calling the package is calling the
front door.
"""

from __future__ import annotations

from sightline.masks.front_door import make_callable

make_callable(__name__, file="lower")

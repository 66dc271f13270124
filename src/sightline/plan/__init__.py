"""What work there is: from a mask and a shape to the blocks that must be computed; see planner.py.

The package and its front door share a public name: ``sl.plan`` is the package once any of it is
loaded, and calling the package is calling the front door.
"""

from __future__ import annotations

from typing import Any

from sightline.masks.front_door import make_callable


def cache_clear() -> None:
    """Forget every plan that is kept."""
    from sightline.plan.planner import PLANS

    PLANS.clear()


def cache_info() -> Any:
    """Return how often a kept plan was found, and how many there are, of how many bytes."""
    from sightline.plan.planner import PLANS

    return PLANS.info()


make_callable(__name__, file="planner")

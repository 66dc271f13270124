"""XLNet at toy scale: characters of a text, predicted in any order.

recipe.py has the settings and the task, texts.py lays out texts, sampling.py draws targets and
orders, shown.py makes what the report shows.
"""

from __future__ import annotations

from sightline.recipes.xlnet.recipe import RECIPE

__all__ = ["RECIPE"]

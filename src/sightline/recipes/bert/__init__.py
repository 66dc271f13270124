"""BERT from raw text (`sightline train bert`), and by heart (`sightline train bert-overfit`).

held_out.py and overfit.py say what is learned from what, task.py how it learns; data.py makes pairs
with masked tokens, batches.py packs them, outcome.py shows what came out, sample.py writes a small
text of our own.
"""

from __future__ import annotations

from sightline.recipes.bert.held_out import RECIPE

__all__ = ["RECIPE"]

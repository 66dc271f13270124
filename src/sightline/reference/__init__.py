"""The oracle: what a mask means and what attention gives, computed the obvious, slow way.

It judges everything else, so it shares no code with masks, plans or engines, and imports nothing
of Sightline but its errors. Only the tests, ``sightline.testing`` and ``engine="reference"`` use
it. Needs numpy alone.
"""

from __future__ import annotations

from sightline.reference.attention import Attention, Gradients, attention, attention_gradients
from sightline.reference.dense import dense, sizes

__all__ = ["Attention", "Gradients", "attention", "attention_gradients", "dense", "sizes"]

"""A small made-up corpus in the form of the real one: readers of series, one volume after another.

What comes next is almost always the next volume, and all volumes are read about equally often: a
model that looks at the order learns it, one that counts how often items are clicked cannot.
"""

from __future__ import annotations

from pathlib import Path

from sightline.recipes.training.seeds import generator
from sightline.views.files import write_atomically

__all__ = ["FILE", "write_sample"]

FILE = "Video.txt"
_SERIES, _VOLUMES, _USERS = 12, 12, 300
_STAYS = 0.9  # how likely the next click is the next volume of the same series


def write_sample(folder: Path) -> None:
    """Write the corpus into a folder, the same every time."""
    random = generator(0, "sample of clicks")
    numbers = random.permutation(_SERIES * _VOLUMES).reshape(_SERIES, _VOLUMES) + 1
    lines = []
    for user in range(1, _USERS + 1):
        series, volume = int(random.integers(_SERIES)), int(random.integers(_VOLUMES))
        for _ in range(int(random.integers(4, 14))):
            lines.append(f"{user} {numbers[series, volume]}\n")
            volume = (volume + 1) % _VOLUMES
            if random.random() > _STAYS:
                series, volume = int(random.integers(_SERIES)), int(random.integers(_VOLUMES))
    write_atomically(folder / FILE, "".join(lines))

"""A small corpus of our own in Multi30k's form: German captions and their English translations.

The sentences are put together from parts, so that what is tested was never seen whole.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

from sightline.recipes.training.seeds import generator
from sightline.views.files import write_atomically

__all__ = ["write_sample"]

_WHO = [
    ("Ein Mann", "A man"),
    ("Eine Frau", "A woman"),
    ("Ein Kind", "A child"),
    ("Ein Hund", "A dog"),
    ("Ein alter Lehrer", "An old teacher"),
    ("Eine Katze", "A cat"),
]
_DOES = [
    ("läuft", "is running"),
    ("schläft", "is sleeping"),
    ("sitzt", "is sitting"),
    ("wartet", "is waiting"),
    ("spielt", "is playing"),
]
_WHERE = [
    ("im Park", "in the park"),
    ("am Strand", "on the beach"),
    ("vor dem Haus", "in front of the house"),
    ("auf der Straße", "on the street"),
    ("neben einem Baum", "next to a tree"),
    ("im Schnee", "in the snow"),
]
_SPLITS = {"train": 132, "val": 24, "test_2016_flickr": 24}


def write_sample(folder: Path) -> None:
    """Write train, val and test_2016_flickr, ``.de`` and ``.en``, into a folder.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as made:
    ...     write_sample(Path(made))
    ...     sorted(path.name for path in Path(made).iterdir())[:2]
    ['test_2016_flickr.de', 'test_2016_flickr.en']
    """
    folder.mkdir(parents=True, exist_ok=True)
    pairs = [
        tuple(" ".join(part[side] for part in parts) + "." for side in (0, 1))
        for parts in product(_WHO, _DOES, _WHERE)
    ]
    order = generator(0, "sample").permutation(len(pairs)).tolist()
    for split, many in _SPLITS.items():
        chosen, order = order[:many], order[many:]
        for side, language in enumerate(("de", "en")):
            lines = "".join(f"{pairs[index][side]}\n" for index in chosen)
            write_atomically(folder / f"{split}.{language}", lines)

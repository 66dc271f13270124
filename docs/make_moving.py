"""Makes docs/pictures/moving/: the drawings of docs/moving.md, by the examples that stand there.

python docs/make_moving.py            write the pictures
python docs/make_moving.py --check    exit 1 if they are not what would be written
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from settled import settle

import sightline as sl

DOCS = Path(__file__).parent
TOKENS = ["The", "cat", "sat", "on", "the", "mat", "and", "slept"]


def leaking_weights() -> np.ndarray:
    """Return the weights of the page's example: every key alike, and one that should not be."""
    weights = np.tile(np.tri(8) / np.arange(1, 9)[:, None], (2, 1, 1))
    weights[1, 2] = 0.0
    weights[1, 2, [0, 5]] = 0.75, 0.25
    return weights


def files() -> dict[Path, str]:
    """Return the content of every picture by its path."""
    stream = sl.causal() & (sl.sinks(1) | sl.window(left=2))
    drawings = {
        "decoding": sl.draw_decoding(stream, tokens=TOKENS, prompt=3, to="svg"),
        "reach": sl.draw_reach(sl.window(left=2, right=0), 3, tokens=TOKENS, to="svg"),
        "weights": sl.draw_weights(leaking_weights(), sl.causal(), tokens=TOKENS, to="svg"),
    }
    folder = DOCS / "pictures" / "moving"
    return {folder / f"{name}.svg": str(drawing) for name, drawing in drawings.items()}


def main(words: list[str]) -> int:
    """Write or check, and return the exit code."""
    return settle(words, __doc__, "make_moving", DOCS, files)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Makes docs/pictures/moving/: the drawings of docs/moving.md, by the examples that stand there.

python docs/make_moving.py            write the pictures
python docs/make_moving.py --check    exit 1 if they are not what would be written
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import sightline as sl
from sightline.views.files import write_atomically

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


def stale(made: dict[Path, str]) -> list[Path]:
    """Return the files that are missing or hold something else."""
    return [
        path
        for path, content in made.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != content
    ]


def main(words: list[str]) -> int:
    """Write or check, and return the exit code."""
    if words not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    made = files()
    old = stale(made)
    for path in old:
        name = path.relative_to(DOCS)
        if words:
            print(f"docs/{name} is stale: run python docs/make_moving.py")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, made[path])
            print(f"wrote docs/{name}")
    return 1 if words and old else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""``python -m sightline`` is the command ``sightline``."""

from __future__ import annotations

from sightline.cli.main import run

if __name__ == "__main__":
    run()

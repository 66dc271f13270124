"""What masked attention costs beside all that one would run by hand: `sightline bench`.

Run: python benchmarks/attend.py [--full] [--json benchmarks/results/attend.json]; --help lists the
options. What is measured and how stands in src/sightline/recipes/bench/.
"""

from __future__ import annotations

import sys

from sightline.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["bench", *sys.argv[1:]]))

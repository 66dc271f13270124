"""A drawing as SVG: cells, labels, margins, and the words in it."""

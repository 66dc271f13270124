"""PNG: pixels of our own, and drawings painted from their SVG."""

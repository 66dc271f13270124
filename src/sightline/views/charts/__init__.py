"""Charts of numbers: curves, dots, and their axes."""

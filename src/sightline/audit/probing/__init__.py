"""Running a model with other inputs, and judging what moves: the search for leaks."""

"""Say it: who may see whom, as values that combine. Numpy and the standard library only."""

"""Training, for every recipe: the loop, checkpoints, run folders, what comes out and its report.

A recipe (recipe.py) says what is learned from what; loop.py trains it. Nothing here knows a model.
"""

"""One recipe, one room: data in, a computation, records out.

Recipes compute and return frozen records; printing and drawing is left to ``cli`` and ``views``.
"""

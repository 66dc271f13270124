"""The main job: masked multi-head attention on real sentences, done right and then done wrongly.

``run.run_demo`` returns records whose every number was measured; ``cli/demo.py`` shows them.
Nothing here imports torch until ``run`` is imported, so that bad input is refused at once.
"""

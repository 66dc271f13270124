"""Generating with a language model: ``sl.nn.generate`` (generate.py) and its parts.

options.py and prompts.py read arguments; session.py feeds a model; decode.py, beam.py and
speculative.py choose tokens with sampling.py; rows.py keeps bits alike. The front door stands in
this package and not beside it, so that ``sl.nn.generate`` is never a module.
"""

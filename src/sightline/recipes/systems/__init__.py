"""The reference systems as data: what each is, its masks, what it is held against, what it reached.

The rows are in language.py, mechanisms.py and beyond.py; table.py joins them with recorded runs.
Needs no torch.
"""

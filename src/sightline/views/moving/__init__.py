"""What moves or answers: decoding and layered reach as frames, attention weights to hover over.

Each drawing has its numbers in one file (decoding.py, reach.py, attention.py) and its front door
and looks in others; scripts and styles of pages stand beside them and go into each page whole.
"""

"""The atlas: a map of a mask of any size, to move about and zoom in.

look.py works out what a piece of the mask holds, facts.py what is said beside it; neither knows a
browser. The server and its pages stand above them.
"""

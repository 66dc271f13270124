"""Reading back what libraries take: one file per source, listed in table.py.

A source has the name of the destination of ``lower`` whose form it reads. Here the form becomes
bools (True may attend), exactly as the library would treat it; which expression says them is the
matter of the rooms above.
"""

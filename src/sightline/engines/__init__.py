"""Running attention under a mask; the front door is attend.py, one file per engine.

Importing this package imports no framework; attend.py does.
"""

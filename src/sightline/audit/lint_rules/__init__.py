"""The lint rules, one file each, listed in table.py.

A rule looks at parsed code through ``Code`` and yields hits; it finds only what is wrong in every
reading of the code, or nearly, and stays silent where it is not sure.
"""

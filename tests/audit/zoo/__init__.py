"""Small models with one planted fault each, every one beside its right twin.

A file holds one family of models and its rows; table.py joins the rows.
"""

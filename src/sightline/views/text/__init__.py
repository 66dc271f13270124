"""Drawings and tables as text: signs, columns that line up, colors of a terminal."""

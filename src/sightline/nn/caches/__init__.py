"""The parts of the key/value caches: what they share, and the kinds beside the static one.

The static cache is nn/kv_cache.py. Here: base.py (lengths, growing, cropping), chunk.py (new tokens
and what they may see), placed.py (a mask seen from a cache), arguments.py, and the other kinds.
"""

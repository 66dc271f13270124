"""Attention arithmetic that forbidden content cannot get through; shared by the engines.

It knows tensors only: no masks, no requests, no engines.
"""

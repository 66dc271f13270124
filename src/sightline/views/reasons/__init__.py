"""Masks in words: what a mask says, and why a pair is allowed or not."""

"""Fingerprints: measured layer by layer, kept in a file, compared."""

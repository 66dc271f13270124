"""What tests need and others may use too: the conformance suite, for any backend.

Drawn cases, random expressions for hypothesis, masks built from specs, and what the arguments of
other libraries mean.
"""

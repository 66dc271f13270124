"""What masked attention costs on this machine: `sightline bench`.

cases.py says which masks, peers.py what they are run on besides, timing.py how time is taken;
passes.py, decoding.py and calls.py measure, run.py goes through all of it. Words and tables are
left to ``cli``.
"""

"""What engine ``cpu`` is made of: its plans, the calls of the kernels, and the two ways in.

plans.py turns masks into what the kernels walk along; kernels.py hands tensors over; eager.py is
the quick way in; operators.py is the one through torch's dispatcher, for all that looks at
operations rather than runs them.
"""

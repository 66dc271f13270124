"""What the arguments of each destination mean, cell by cell: the judges of ``lower``.

Written from the libraries' own documentation, and sharing no code with ``lower``. Each takes what
``lower`` made and a Shape, and returns bools ``[batch, heads, q_len, kv_len]``, True may attend.
"""

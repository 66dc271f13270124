"""File formats: each file here reads one kind and says what is wrong with a bad one."""

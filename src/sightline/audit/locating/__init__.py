"""Where a leak starts: the module, the operation, the line, and why."""

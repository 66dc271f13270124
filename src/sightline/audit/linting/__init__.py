"""What the lint rules stand on: files, parsed source, values of masks, calls of attention.

Nothing here knows a rule (those stand in lint_rules/), and no code that is looked at is ever run.
"""

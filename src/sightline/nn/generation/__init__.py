"""The parts of ``sl.nn.generate``: prompts, filters, rows of equal bits, beams, drafts."""

"""The reference models: one model, one file, on top of nn/."""

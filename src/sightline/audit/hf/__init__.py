"""Models of transformers under audit: tiny ones of every class, and the ways they are run."""

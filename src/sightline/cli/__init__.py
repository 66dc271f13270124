"""The command line: reads arguments, prints records. Nothing is computed here."""

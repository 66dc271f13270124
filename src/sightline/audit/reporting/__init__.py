"""What an audit found, shown: as text, as data, as a page, and as a script that shows it."""

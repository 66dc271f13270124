"""The playground: sentences of one's own, seen by one system after another."""

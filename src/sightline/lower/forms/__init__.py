"""What several destinations are made from: a mask split, packed or listed in a plainer form."""

"""What ``sl.guard`` watches: one file for each entry into attention, and what all of them share.

The front door is audit/guard.py. checks.py and its siblings are pure: facts in, findings out.
"""

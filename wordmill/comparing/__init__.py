"""Results beside each other: what differs, what may be compared, and what that says."""

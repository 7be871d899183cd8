"""People compare two systems: what they are shown, their votes, and what the votes say."""

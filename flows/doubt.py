"""What the fast check can't judge. It never guesses: DVC is asked instead."""


class DoubtError(Exception):
    """Says what was met that only DVC knows how to read."""

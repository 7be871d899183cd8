"""From sources to clean records."""

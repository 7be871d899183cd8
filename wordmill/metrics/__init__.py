"""Scores, each with its identity and interval."""

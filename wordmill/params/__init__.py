"""The typed mirror of params.yaml, a file for each section."""

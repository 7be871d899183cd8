"""The comparison: every system on the same held-out documents and pairs."""

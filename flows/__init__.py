"""When to run, what to retry, whether to promote."""

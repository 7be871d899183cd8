"""Text in, clean text out: batch functions over columns, and the passes that need all rows."""
